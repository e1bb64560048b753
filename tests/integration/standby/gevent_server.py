"""``site_app`` under gevent's own server: its patches come before every other import."""

from gevent import monkey

monkey.patch_all()

if __name__ == "__main__":
    from .site_app import main

    main()
