"""Live figures of sweeps and runs: one table of metrics, and what Prometheus and Grafana are told of them."""
