"""The operator's panel, a page before the control API: it shows what the API's ports tell, and asks the API itself for
everything it does. `panel` and what it uses import NiceGUI: import them late.
"""
