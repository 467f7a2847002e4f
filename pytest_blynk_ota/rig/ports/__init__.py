"""Fixed ports: one process for each address and port of a host, used by all runs that need it.

::

    board ──TCP──> porter (holds the port) ──the accepted socket itself──> tenant (a worker)

``first``     what the first bytes of a connection say of who calls; pure
``tenants``   which tenant a caller is for; pure
``porter``    the process that holds the port
``messages``  what porter and tenants say to each other, and where they meet
``tenancy``   a tenant's side: find the porter or start it, and take what it hands over
"""
