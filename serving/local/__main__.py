"""`python -m serving.local`: the local server."""

from serving.local.server import main

if __name__ == "__main__":
    main()
