"""How the installation stands, told to machines (``exposition``) and to people (``alarms``); it changes nothing."""
