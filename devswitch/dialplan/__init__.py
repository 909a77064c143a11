"""What is written in FreeSWITCH's languages: the XML dialplan, and dial strings."""
