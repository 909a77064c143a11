"""The console: pages for the person on duty, made here and not in the browser.

A page is a function of a router that :func:`web.page.pages` makes, in a module of ``web/pages`` that :mod:`web.app`
names, and a template that extends ``layout.html``. Such a router lets nobody in who is not signed in, refuses forms
that another site sent, and answers errors as pages. What changes while somebody looks is an element with
``data-live``: its content is fetched anew (``static/live.js``), so whatever is drawn is drawn in one place, a template.
"""
