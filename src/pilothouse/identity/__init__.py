"""Who somebody is: for now the local credential that agents, the command line and debug readers present.

Certificates and SPIFFE identities belong here, too.
"""
