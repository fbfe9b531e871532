"""The domain: services, ports, endpoints, workloads, proxies, and the World that holds every validated input.

Pure, frozen, and ignorant of where values come from (Consul, Eureka, files) and of where they go (Envoy).
"""
