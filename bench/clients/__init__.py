"""The programs that ask: DCMTK's storescu and dcmsend, wrk, h2load; and what they printed, as figures."""
