"""`python -m sparcode_es_cli`."""

from sparcode_es_cli.entry import main

main()
