// Package httpapi serves what operators and their tools ask a node over HTTP: metrics, liveness, readiness, a checkpoint
// on demand, and profiles where they are allowed.
//
// It shares a process with the write path, and anything that can reach the port can talk to it. So everything is
// bounded (connections, header and body sizes, the time to send a request, to take an answer, to sit idle), answers are
// small, and nothing here is called by the write path or holds a lock of it.
//
//	GET  /metrics            Prometheus's text format
//	GET  /healthz            200 while the process serves at all: restart it when this fails
//	GET  /readyz             200, or 503 with the reason: send it no traffic while this fails
//	POST /admin/checkpoint   200 when the checkpoint is on disk; 409 while another one is running
//	GET  /debug/pprof/       profiles, when Config.Pprof is set
//	…    Sources.Actions     what else the caller serves; its POST requests must be JSON and say so
//
// HEAD works where GET does. Everything else is 404, or 405 when only the method is wrong. All answers but metrics and
// profiles are JSON objects; those with an error have the field "error".
package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"
)

// Config bounds the server.
type Config struct {
	MaxConnections    int           // open at a time; one more is answered 503 and closed. Zero means 128
	MaxHeaderBytes    int           // of a request's first line and headers; more is 431. Zero means 8192
	MaxBodyBytes      int           // of a request; more is 413. Zero means 4096
	ReadTimeout       time.Duration // for a whole request to arrive. Zero means 10 s
	WriteTimeout      time.Duration // for a client to take an answer. Zero means 30 s
	IdleTimeout       time.Duration // between requests of a connection. Zero means 60 s
	CheckpointTimeout time.Duration // for one checkpoint; more is 504. Zero means 5 min
	ActionTimeout     time.Duration // for one of Sources.Actions. Zero means 20 s
	Pprof             bool          // serve /debug/pprof/: a profile shows memory contents and takes CPU. False does not
}

// DefaultConfig returns the values that zeros stand for.
func DefaultConfig() Config {
	return Config{
		MaxConnections:    128,
		MaxHeaderBytes:    8192,
		MaxBodyBytes:      4096,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		CheckpointTimeout: 5 * time.Minute,
		ActionTimeout:     20 * time.Second,
	}
}

// Validate says which field is out of range.
func (c Config) Validate() error {
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"MaxConnections", int64(c.MaxConnections)},
		{"MaxHeaderBytes", int64(c.MaxHeaderBytes)},
		{"MaxBodyBytes", int64(c.MaxBodyBytes)},
		{"ReadTimeout", int64(c.ReadTimeout)},
		{"WriteTimeout", int64(c.WriteTimeout)},
		{"IdleTimeout", int64(c.IdleTimeout)},
		{"CheckpointTimeout", int64(c.CheckpointTimeout)},
		{"ActionTimeout", int64(c.ActionTimeout)},
	} {
		if field.value < 0 {
			return fmt.Errorf("httpapi: %s is %d, want 0 for the default or more", field.name, field.value)
		}
	}
	return nil
}

func (c Config) withDefaults() Config {
	d := DefaultConfig()
	setZero(&c.MaxConnections, d.MaxConnections)
	setZero(&c.MaxHeaderBytes, d.MaxHeaderBytes)
	setZero(&c.MaxBodyBytes, d.MaxBodyBytes)
	setZero(&c.ReadTimeout, d.ReadTimeout)
	setZero(&c.WriteTimeout, d.WriteTimeout)
	setZero(&c.IdleTimeout, d.IdleTimeout)
	setZero(&c.CheckpointTimeout, d.CheckpointTimeout)
	setZero(&c.ActionTimeout, d.ActionTimeout)
	return c
}

func setZero[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Sources is what the server asks. The functions are called from many goroutines. A panic in one ends the process, as
// one anywhere else does: it is a broken invariant, and an HTTP status would hide it.
type Sources struct {
	Metrics    prometheus.Gatherer
	Ready      func() (ready bool, reason string) // reason is for people, when not ready
	Checkpoint func(context.Context) error        // never called twice at a time; nil: there is no such request
	Actions    []Action                           // may be empty
}

// Server is the HTTP side of a node.
type Server struct {
	config  Config
	sources Sources
	http    fasthttp.Server

	base   context.Context // of handlers; cancelled when Shutdown gives up on them
	cancel context.CancelFunc

	checkpointing atomic.Bool // one is running

	mu       sync.Mutex            // owns what follows
	listener net.Listener          // nil until Serve
	closed   bool                  // Shutdown was called
	conns    map[net.Conn]struct{} // open, to be cut when they outlast Shutdown
}

// New returns a server that Serve starts. log gets what the HTTP library complains about, at debug level because
// clients cause it, and metrics that cannot be gathered, as warnings.
func New(c Config, s Sources, log *slog.Logger) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if s.Metrics == nil || s.Ready == nil {
		return nil, errors.New("httpapi: Sources.Metrics and Sources.Ready must be set")
	}
	server := &Server{config: c.withDefaults(), sources: s, conns: map[net.Conn]struct{}{}}
	server.base, server.cancel = context.WithCancel(context.Background())
	server.http = fasthttp.Server{
		Handler:                      server.handler(log),
		ErrorHandler:                 requestError,
		ConnState:                    server.connState,
		Logger:                       libraryLog{log},
		Concurrency:                  server.config.MaxConnections,
		ReadBufferSize:               server.config.MaxHeaderBytes,
		MaxRequestBodySize:           server.config.MaxBodyBytes,
		ReadTimeout:                  server.config.ReadTimeout,
		WriteTimeout:                 server.config.WriteTimeout,
		IdleTimeout:                  server.config.IdleTimeout,
		TCPKeepalive:                 true,
		NoDefaultServerHeader:        true,
		DisablePreParseMultipartForm: true,
		CloseOnShutdown:              true,
	}
	return server, nil
}

// Serve serves connections from ln, which it closes, until Shutdown, and returns nil then. It may be called once.
func (s *Server) Serve(ln net.Listener) error {
	s.mu.Lock()
	before, closed := s.listener, s.closed
	s.listener = ln
	s.mu.Unlock()
	if before != nil {
		panic(fmt.Sprintf("httpapi: Serve on %v after Serve on %v", ln.Addr(), before.Addr()))
	}
	if closed {
		return ln.Close()
	}
	if err := s.http.Serve(ln); err != nil {
		return fmt.Errorf("httpapi: serve on %v: %w", ln.Addr(), err)
	}
	return nil
}

// Shutdown stops accepting, lets requests that are running finish, and closes the connections. When ctx ends first, it
// cuts the connections, cancels the context of the requests that still run, and returns an error.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	s.mu.Lock()
	s.closed = true
	if s.listener != nil {
		// The library closes listeners as well, but only those that its Serve has got round to noting.
		_ = s.listener.Close()
	}
	s.mu.Unlock()

	err := s.http.ShutdownWithContext(ctx)
	if err == nil || errors.Is(err, net.ErrClosed) { // the library found the listener closed
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close() // its goroutine takes it out of the map
	}
	return fmt.Errorf("httpapi: shutdown: %d connections were cut: %w", len(s.conns), err)
}

func (s *Server) connState(c net.Conn, state fasthttp.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case fasthttp.StateNew:
		s.conns[c] = struct{}{}
	case fasthttp.StateClosed, fasthttp.StateHijacked:
		delete(s.conns, c)
	}
}

// libraryLog hands the HTTP library's lines to slog.
type libraryLog struct{ log *slog.Logger }

func (l libraryLog) Printf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("httpapi: " + fmt.Sprintf(format, args...))
	}
}

// Println is what promhttp reports errors with.
func (l libraryLog) Println(args ...any) { l.log.Warn("httpapi: " + fmt.Sprint(args...)) }
