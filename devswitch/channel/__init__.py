"""A call's leg as FreeSWITCH sees it: state, variables, caller profile, and the task that executes applications."""
