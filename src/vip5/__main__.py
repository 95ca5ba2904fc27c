"""`python -m vip5`, and so `torchrun -m vip5 train …`."""

from vip5.cli.main import main

if __name__ == "__main__":  # not in processes that it starts
    main()
