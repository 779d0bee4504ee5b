"""A guard on many hosts: serve run ray_serve:guards, in the folder of this file."""

from ray import serve


def build() -> object:
    """Each replica's own guard, with all routes."""
    from advdetect.service.app import create_app
    from advdetect.service.served import Served
    from advdetect.service.service import Service
    from advdetect.service.settings import Settings

    # Something in front must keep strangers out, or give Settings a token.
    settings = Settings(host="0.0.0.0", insecure=True)
    return create_app(Service(Served.load("fashion-resnet"), settings, "fashion-resnet"))


guards = serve.deployment(num_replicas=2)(serve.ingress(build)()).bind()
