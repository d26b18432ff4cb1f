package metric

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// closeIn is how long a scrape under way may take when the server is closed.
const closeIn = time.Second

// Server is where Prometheus scrapes a Load: GET /metrics.
type Server struct {
	Addr net.Addr
	http *http.Server
	done chan error
}

// Serve begins to serve l on addr, host:port.
func Serve(addr string, l *Load) (*Server, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(l.Registry(), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	s := &Server{Addr: ln.Addr(), done: make(chan error, 1),
		http: &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 8192}}
	go func() { s.done <- s.http.Serve(ln) }() // ends with Close
	return s, nil
}

// Close stops serving.
func (s *Server) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeIn)
	defer cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // whoever has not taken an answer by now goes without
	}
	if served := <-s.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}
