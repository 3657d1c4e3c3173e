"""The command line as `python -m cogito_ray`."""

from cogito_ray.cli import main

if __name__ == "__main__":
    main()
