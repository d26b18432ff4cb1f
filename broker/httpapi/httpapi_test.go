package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ackline/broker/metric"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// running is a server on a loopback listener.
type running struct {
	t      *testing.T
	server *Server
	addr   string
	served chan error // what Serve returned
	client *http.Client
}

func ready() (bool, string) { return true, "" }

// start serves until the test ends. Sources that are not set get ones that work.
func start(t *testing.T, c Config, s Sources) *running {
	t.Helper()
	if s.Metrics == nil {
		s.Metrics = metric.New().Registry()
	}
	if s.Ready == nil {
		s.Ready = ready
	}
	server, err := New(c, s, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &running{t: t, server: server, addr: ln.Addr().String(), served: make(chan error, 1)}
	r.client = &http.Client{
		Transport:     &http.Transport{},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	go func() { r.served <- server.Serve(ln) }()
	t.Cleanup(func() {
		r.client.CloseIdleConnections()
		cut, cancel := context.WithCancel(context.Background())
		cancel()
		_ = server.Shutdown(cut)
	})
	return r
}

type reply struct {
	status int
	header http.Header
	body   string
	fields map[string]any // of a JSON body
}

func (r *running) do(method, path, body string) reply {
	r.t.Helper()
	got, err := r.try(method, path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return got
}

func (r *running) try(method, path, body string) (reply, error) {
	request, err := http.NewRequest(method, "http://"+r.addr+path, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	got := reply{status: response.StatusCode, header: response.Header, body: string(b)}
	if response.Header.Get("Content-Type") == "application/json" && len(b) > 0 {
		if err := json.Unmarshal(b, &got.fields); err != nil {
			r.t.Errorf("%s %s: %q is not JSON: %v", method, path, b, err)
		}
	}
	return got, nil
}

func (r *running) expect(method, path string, status int, field string, value any) reply {
	r.t.Helper()
	got := r.do(method, path, "")
	if got.status != status || (field != "" && got.fields[field] != value) {
		r.t.Errorf("%s %s: %d %q, want %d with %s=%v", method, path, got.status, got.body, status, field, value)
	}
	return got
}

func TestHealth(t *testing.T) {
	r := start(t, Config{}, Sources{Ready: func() (bool, string) { return false, "starting" }})
	got := r.expect("GET", "/healthz", 200, "status", "ok")
	if got.header.Get("Server") != "" {
		t.Errorf("the server gives its name away: %v", got.header)
	}
}

func TestReadiness(t *testing.T) {
	var reason atomic.Value
	reason.Store("")
	r := start(t, Config{}, Sources{Ready: func() (bool, string) {
		s := reason.Load().(string)
		return s == "", s
	}})
	got := r.expect("GET", "/readyz", 200, "ready", true)
	if _, given := got.fields["reason"]; given {
		t.Errorf("a reason for being ready: %s", got.body)
	}
	reason.Store(`12 of 40 groups have "no leader"`)
	got = r.expect("GET", "/readyz", 503, "ready", false)
	if got.fields["reason"] != `12 of 40 groups have "no leader"` {
		t.Errorf("reason %v", got.fields["reason"])
	}
	reason.Store("")
	r.expect("GET", "/readyz", 200, "ready", true)
}

func TestMetrics(t *testing.T) {
	set := metric.New()
	set.Counter(metric.ProduceRequests, func() uint64 { return 42 })
	r := start(t, Config{}, Sources{Metrics: set.Registry()})
	got := r.do("GET", "/metrics", "")
	if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%d %v", got.status, got.header)
	}
	for _, want := range []string{
		"# TYPE ackline_produce_requests_total counter\nackline_produce_requests_total 42\n", "\ngo_goroutines ", "\nprocess_open_fds ",
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%q is not in\n%s", want, got.body)
		}
	}
}

// TestMetricsThatFail serves what can be gathered.
func TestMetricsThatFail(t *testing.T) {
	set := metric.New()
	set.Counter(metric.ProduceRequests, func() uint64 { return 42 })
	good := set.Registry()
	r := start(t, Config{}, Sources{Metrics: prometheus.Gatherers{good, good}}) // everything twice is an error
	got := r.do("GET", "/metrics", "")
	if got.status != 200 || !strings.Contains(got.body, "ackline_produce_requests_total 42") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	r := start(t, Config{}, Sources{Checkpoint: func(context.Context) error { t.Error("checkpoint"); return nil }})
	for _, path := range []string{"/", "/metric", "/metrics/", "/metrics/x", "/admin", "/admin/checkpoint/", "/debug/pprof/", "/debug/pprof",
		"/debug/pprof/heap", "/%00", "/..//"} {
		if got := r.expect("GET", path, 404, "", nil); got.fields["error"] == nil {
			t.Errorf("GET %s: %q, want JSON with an error", path, got.body)
		}
	}
	for _, test := range []struct{ method, path, allow string }{
		{"POST", "/metrics", "GET, HEAD"}, {"PUT", "/healthz", "GET, HEAD"}, {"DELETE", "/readyz", "GET, HEAD"},
		{"GET", "/admin/checkpoint", "POST"}, {"HEAD", "/admin/checkpoint", "POST"},
	} {
		if got := r.expect(test.method, test.path, 405, "", nil); got.header.Get("Allow") != test.allow {
			t.Errorf("%s %s: allow %q, want %q", test.method, test.path, got.header.Get("Allow"), test.allow)
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		if got := r.expect("HEAD", path, 200, "", nil); got.body != "" {
			t.Errorf("HEAD %s has a body: %q", path, got.body)
		}
	}
}

func TestCheckpoint(t *testing.T) {
	var fail atomic.Value
	fail.Store(false)
	var ran atomic.Int32
	r := start(t, Config{}, Sources{Checkpoint: func(context.Context) error {
		ran.Add(1)
		if fail.Load().(bool) {
			return errors.New("segment of group 7: no space left on device")
		}
		return nil
	}})
	got := r.expect("POST", "/admin/checkpoint", 200, "status", "done")
	if seconds, ok := got.fields["duration_seconds"].(float64); !ok || seconds < 0 {
		t.Errorf("duration %v", got.fields["duration_seconds"])
	}
	fail.Store(true)
	r.expect("POST", "/admin/checkpoint", 500, "error", "segment of group 7: no space left on device")
	if n := ran.Load(); n != 2 {
		t.Errorf("%d checkpoints for 2 requests", n)
	}
}

func TestNoCheckpointWithoutSource(t *testing.T) {
	start(t, Config{}, Sources{}).expect("POST", "/admin/checkpoint", 404, "", nil)
}

func TestOneCheckpointAtATime(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, Config{}, Sources{Checkpoint: func(context.Context) error {
		entered <- struct{}{}
		<-release
		return nil
	}})
	first := make(chan reply, 1)
	go func() {
		got, _ := r.try("POST", "/admin/checkpoint", "")
		first <- got
	}()
	<-entered
	r.expect("POST", "/admin/checkpoint", 409, "error", "a checkpoint is running already")
	r.expect("GET", "/healthz", 200, "status", "ok") // nothing else waits for it
	close(release)
	if got := <-first; got.status != 200 {
		t.Errorf("the first: %d %s", got.status, got.body)
	}
	go func() { <-entered }()
	r.expect("POST", "/admin/checkpoint", 200, "status", "done")
}

func TestCheckpointTimeout(t *testing.T) {
	r := start(t, Config{CheckpointTimeout: time.Millisecond}, Sources{Checkpoint: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	r.expect("POST", "/admin/checkpoint", 504, "", nil)
}

func TestPprof(t *testing.T) {
	r := start(t, Config{Pprof: true}, Sources{})
	for path, want := range map[string]string{
		"/debug/pprof/":                     "goroutine?debug=1",
		"/debug/pprof/goroutine?debug=1":    "goroutine profile:",
		"/debug/pprof/heap?debug=1":         "heap profile:",
		"/debug/pprof/cmdline":              "httpapi.test",
		"/debug/pprof/symbol":               "num_symbols",
		"/debug/pprof/threadcreate?debug=1": "threadcreate profile:",
	} {
		if got := r.expect("GET", path, 200, "", nil); !strings.Contains(got.body, want) {
			t.Errorf("%s: %.200q, want %q in it", path, got.body, want)
		}
	}
	r.expect("GET", "/debug/pprof/nonsense", 404, "", nil)
	if got := r.expect("GET", "/debug/pprof", 301, "", nil); !strings.HasSuffix(got.header.Get("Location"), "/debug/pprof/") {
		t.Errorf("redirected to %q", got.header.Get("Location"))
	}
}

// dial opens a connection and sends bytes.
func (r *running) dial(send string) net.Conn {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		r.t.Fatal(err)
	}
	if _, err := io.WriteString(conn, send); err != nil {
		r.t.Fatal(err)
	}
	return conn
}

// TestHostileRequests sends what is no request, or too much of one. Each costs its sender the connection.
func TestHostileRequests(t *testing.T) {
	never := Sources{Checkpoint: func(context.Context) error { t.Error("checkpoint"); return nil }}
	limits := Config{MaxHeaderBytes: 512, MaxBodyBytes: 16, ReadTimeout: time.Hour}
	r := start(t, limits, never)
	limits.ReadTimeout = 50 * time.Millisecond // for those that end by it: the others may take their time to arrive
	hurried := start(t, limits, never)
	for name, test := range map[string]struct {
		send   string
		status int
	}{
		"not HTTP":            {"\x00\x00\x00\x20\x00\x12\x00\x03 a Kafka request\r\n\r\n", 400},
		"long headers":        {"GET /healthz HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 600) + "\r\n\r\n", 431},
		"endless first line":  {"GET /" + strings.Repeat("a", 600), 431},
		"long body":           {"POST /admin/checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 17\r\n\r\n" + strings.Repeat("a", 17), 413},
		"2 GiB announced":     {"POST /admin/checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 2147483648\r\n\r\n", 413},
		"half a header":       {"GET /healthz HTTP/1.1\r\nHos", 408},
		"body never finished": {"POST /admin/checkpoint HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab", 408},
		"nothing":             {"", 408},
	} {
		to := r
		if test.status == 408 {
			to = hurried
		}
		conn := to.dial(test.send)
		reader := bufio.NewReader(conn)
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var body map[string]any
		if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body["error"] == nil {
			t.Errorf("%s: body %v, %v; want JSON with an error", name, body, err)
		}
		if response.StatusCode != test.status {
			t.Errorf("%s: %d, want %d", name, response.StatusCode, test.status)
		}
		if _, err := reader.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection stays open (%v)", name, err)
		}
	}
	r.expect("GET", "/healthz", 200, "status", "ok")
}

func TestIdleConnectionIsClosed(t *testing.T) {
	r := start(t, Config{IdleTimeout: 20 * time.Millisecond, ReadTimeout: time.Hour}, Sources{})
	conn := r.dial("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, nil)
	if err != nil || response.StatusCode != 200 {
		t.Fatal(response, err)
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.ReadByte(); err != io.EOF {
		t.Fatalf("after the idle time: %v, want EOF", err)
	}
}

func TestTooManyConnections(t *testing.T) {
	entered, release := make(chan struct{}, 2), make(chan struct{})
	r := start(t, Config{MaxConnections: 2}, Sources{Ready: func() (bool, string) {
		entered <- struct{}{}
		<-release
		return true, ""
	}})
	const request = "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	held := []net.Conn{r.dial(request), r.dial(request)}
	<-entered
	<-entered
	third := r.dial("")
	response, err := http.ReadResponse(bufio.NewReader(third), nil)
	if err != nil || response.StatusCode != 503 {
		t.Fatalf("the third connection: %v, %v", response, err)
	}
	close(release)
	for _, conn := range held {
		if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != 200 {
			t.Errorf("a connection within the limit: %v, %v", response, err)
		}
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	server, err := New(Config{}, Sources{Metrics: prometheus.NewRegistry(), Ready: ready}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	broken := errors.New("too many open files")
	if err := server.Serve(brokenListener{ln, broken}); !errors.Is(err, broken) {
		t.Fatalf("Serve returned %v", err)
	}
}

type brokenListener struct {
	net.Listener
	err error
}

func (l brokenListener) Accept() (net.Conn, error) { return nil, l.err }

func TestConfig(t *testing.T) {
	if got := (Config{}).withDefaults(); got != DefaultConfig() {
		t.Errorf("zeros stand for %+v, DefaultConfig is %+v", got, DefaultConfig())
	}
	sources := Sources{Metrics: prometheus.NewRegistry(), Ready: ready}
	for _, c := range []Config{
		{MaxConnections: -1}, {MaxHeaderBytes: -1}, {MaxBodyBytes: -1}, {ReadTimeout: -1}, {WriteTimeout: -1}, {IdleTimeout: -1},
		{CheckpointTimeout: -1},
	} {
		if _, err := New(c, sources, slog.Default()); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	for _, s := range []Sources{{Ready: ready}, {Metrics: prometheus.NewRegistry()}} {
		if _, err := New(Config{}, s, slog.Default()); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}
