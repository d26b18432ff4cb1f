package main

import (
	"fmt"

	"ackline/loadgen/metric"
	"ackline/loadgen/result"
)

// metricsFlags say where a load can be watched.
type metricsFlags struct {
	MetricsAddr string `placeholder:"HOST:PORT" group:"What is written" help:"While this runs, tell Prometheus about the load: GET /metrics here (off). dashboards/ has a page for it."`
}

// serve begins to serve metrics when they are asked for. watch is a configuration's Watch, nil without; stop ends it.
func (f metricsFlags) serve(e env) (watch func(result.Portion), stop func(), err error) {
	load, stop, err := f.open(e)
	if load != nil {
		watch = load.Add
	}
	return watch, stop, err
}

// open is serve, with what is served: nil when nobody asks for it.
func (f metricsFlags) open(e env) (load *metric.Load, stop func(), err error) {
	if f.MetricsAddr == "" {
		return nil, func() {}, nil
	}
	load = metric.New()
	s, err := metric.Serve(f.MetricsAddr, load)
	if err != nil {
		return nil, nil, fmt.Errorf("--metrics-addr %s: %w", f.MetricsAddr, err)
	}
	fmt.Fprintf(e.errOut, "metrics: http://%s/metrics\n", s.Addr)
	return load, func() {
		if err := s.Close(); err != nil {
			fmt.Fprintf(e.errOut, "warning: %v\n", err)
		}
	}, nil
}
