"""Reading the FT_REPORT files of either server, and the zip of everything for support."""
