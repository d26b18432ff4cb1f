package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/trace"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestShutdownWaits(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, Config{}, Sources{Checkpoint: func(ctx context.Context) error {
		close(entered)
		<-release
		return ctx.Err()
	}})
	r.expect("GET", "/healthz", 200, "status", "ok") // leaves an idle connection behind
	answered := make(chan reply, 1)
	go func() {
		got, err := r.try("POST", "/admin/checkpoint", "")
		if err != nil {
			t.Error(err)
		}
		answered <- got
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- r.server.Shutdown(context.Background()) }()
	if err := <-r.served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
	// The kernel may still take a connection, for the moment until Shutdown has closed the listener; nobody answers there.
	if conn, err := net.Dial("tcp", r.addr); err == nil {
		conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if got, err := io.ReadAll(conn); len(got) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection after Shutdown was answered %q, %v", got, err)
		}
		conn.Close()
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown returned %v with a request running", err)
	default:
	}
	close(release)
	if got := <-answered; got.status != 200 {
		t.Errorf("the request that was running: %d %s", got.status, got.body)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown returned %v", err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	entered, ended := make(chan struct{}), make(chan error, 1)
	r := start(t, Config{CheckpointTimeout: time.Hour}, Sources{Checkpoint: func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}})
	cut := make(chan error, 1)
	go func() {
		_, err := r.try("POST", "/admin/checkpoint", "")
		cut <- err
	}()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.server.Shutdown(ctx); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "1 connections were cut") {
		t.Errorf("Shutdown returned %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the request's context ended with %v", err)
	}
	if err := <-cut; err == nil {
		t.Error("the request was answered")
	}
	if err := <-r.served; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

func TestShutdownBeforeServe(t *testing.T) {
	server, err := New(Config{}, Sources{Metrics: prometheus.NewRegistry(), Ready: ready}, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Serve(ln); err != nil {
		t.Fatal(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("the listener is still open: %v", err)
	}
}

// TestShutdownEndsProfile asks for an hour of trace, and shuts down once it has begun.
func TestShutdownEndsProfile(t *testing.T) {
	r := start(t, Config{Pprof: true}, Sources{})
	conn := r.dial("GET /debug/pprof/trace?seconds=3600 HTTP/1.1\r\nHost: x\r\n\r\n")
	for !trace.IsEnabled() {
		runtime.Gosched()
	}
	if err := r.server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != 200 {
		t.Errorf("the trace that was cut short: %v, %v", response, err)
	}
}
