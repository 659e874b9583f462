"""How the tables of the study store came about, one file a change. Applied when a store opens."""
