"""The comparison of `./pacs bench`: our archive beside Orthanc, DCMTK and stock pynetdicom, on plain processes.

`rows/` says what is measured and what is aimed at, `servers/` starts who is measured, `clients/` drives them
and reads what they print, `processes` counts the CPU, `results` keeps it, `report` and `plots` show it.
"""
