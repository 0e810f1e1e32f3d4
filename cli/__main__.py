"""`python -m sparcode_es_cli`."""

from sparcode_es_cli.main import main

main()
