package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	runtimepprof "runtime/pprof"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttpadaptor"
)

// scrapesAtOnce bounds concurrent scrapes: more than two or three are a mistake of somebody's.
const scrapesAtOnce = 4

const pprofPrefix = "/debug/pprof/"

// route is one path. Each has one method, and HEAD with GET.
type route struct {
	method string
	handle fasthttp.RequestHandler
}

// handler returns the handler of all requests.
func (s *Server) handler(log *slog.Logger) fasthttp.RequestHandler {
	routes := map[string]route{
		"/healthz": {http.MethodGet, s.healthz},
		"/readyz":  {http.MethodGet, s.readyz},
		"/metrics": {http.MethodGet, fasthttpadaptor.NewFastHTTPHandler(promhttp.HandlerFor(s.sources.Metrics, promhttp.HandlerOpts{
			ErrorLog: libraryLog{log},
			// The metrics that can be gathered are worth more than none.
			ErrorHandling:       promhttp.ContinueOnError,
			MaxRequestsInFlight: scrapesAtOnce,
		}))},
	}
	if s.sources.Checkpoint != nil {
		routes["/admin/checkpoint"] = route{http.MethodPost, s.checkpoint}
	}
	for _, a := range s.sources.Actions {
		routes[a.Path] = route{a.Method, s.action(a)}
	}
	if s.config.Pprof {
		addPprof(routes)
	}
	return func(ctx *fasthttp.RequestCtx) {
		r, found := routes[string(ctx.Path())]
		switch {
		case !found:
			answer(ctx, http.StatusNotFound, failure{fmt.Sprintf("there is no %s here", ctx.Path())})
		case r.method == http.MethodGet && ctx.IsHead(), r.method == string(ctx.Method()):
			r.handle(ctx)
		default:
			ctx.Response.Header.Set(fasthttp.HeaderAllow, r.allow())
			answer(ctx, http.StatusMethodNotAllowed, failure{fmt.Sprintf("%s takes %s", ctx.Path(), r.allow())})
		}
	}
}

func (r route) allow() string {
	if r.method == http.MethodGet {
		return "GET, HEAD"
	}
	return r.method
}

// addPprof adds the profiles. Those that take a time (profile, trace) end early when the server shuts down.
func addPprof(routes map[string]route) {
	add := func(name string, h http.HandlerFunc) {
		routes[pprofPrefix+name] = route{http.MethodGet, fasthttpadaptor.NewFastHTTPHandlerFunc(h)}
	}
	add("", pprof.Index)
	add("cmdline", pprof.Cmdline)
	add("profile", pprof.Profile)
	add("symbol", pprof.Symbol)
	add("trace", pprof.Trace)
	for _, p := range runtimepprof.Profiles() {
		add(p.Name(), pprof.Index) // which looks at the path
	}
	routes[strings.TrimSuffix(pprofPrefix, "/")] = route{http.MethodGet, func(ctx *fasthttp.RequestCtx) {
		ctx.Redirect(pprofPrefix, http.StatusMovedPermanently) // the index links relative to the slash
	}}
}

type failure struct {
	Error string `json:"error"`
}

func (s *Server) healthz(ctx *fasthttp.RequestCtx) {
	answer(ctx, http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

func (s *Server) readyz(ctx *fasthttp.RequestCtx) {
	ready, reason := s.sources.Ready()
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
	}
	answer(ctx, status, struct {
		Ready  bool   `json:"ready"`
		Reason string `json:"reason,omitempty"`
	}{ready, reason})
}

func (s *Server) checkpoint(ctx *fasthttp.RequestCtx) {
	if !s.checkpointing.CompareAndSwap(false, true) {
		answer(ctx, http.StatusConflict, failure{"a checkpoint is running already"})
		return
	}
	defer s.checkpointing.Store(false)
	limited, cancel := context.WithTimeout(s.base, s.config.CheckpointTimeout)
	defer cancel()
	start := time.Now()
	err := s.sources.Checkpoint(limited)
	switch {
	case err == nil:
		answer(ctx, http.StatusOK, struct {
			Status          string  `json:"status"`
			DurationSeconds float64 `json:"duration_seconds"`
		}{"done", time.Since(start).Seconds()})
	case errors.Is(err, context.DeadlineExceeded):
		answer(ctx, http.StatusGatewayTimeout, failure{fmt.Sprintf("the checkpoint took more than %v: %v", s.config.CheckpointTimeout, err)})
	default:
		answer(ctx, http.StatusInternalServerError, failure{err.Error()})
	}
}

// answer writes a JSON body.
func answer(ctx *fasthttp.RequestCtx, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("httpapi: encode %+v: %v", body, err))
	}
	ctx.SetStatusCode(status)
	ctx.SetContentType("application/json")
	ctx.SetBody(append(b, '\n'))
}

// requestError answers what was not a request; the connection is closed behind it.
func requestError(ctx *fasthttp.RequestCtx, err error) {
	var header *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &header):
		answer(ctx, http.StatusRequestHeaderFieldsTooLarge, failure{"the request's headers are too long"})
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		answer(ctx, http.StatusRequestEntityTooLarge, failure{"the request's body is too long"})
	case errors.As(err, &network) && network.Timeout():
		answer(ctx, http.StatusRequestTimeout, failure{"the request did not arrive in time"})
	default:
		answer(ctx, http.StatusBadRequest, failure{"the request is not HTTP"})
	}
}
