"""What is counted: every metric by name (``names``), and how a process counts (``counts``); it knows no other room."""
