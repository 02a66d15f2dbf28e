"""Where measurements are shown beside the ledger: the console and the backends of ``report_to``."""
