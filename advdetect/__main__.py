"""python -m advdetect, as torchrun starts it."""

from advdetect.cli import main

if __name__ == "__main__":
    main()
