package httpapi

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"

	"github.com/valyala/fasthttp"
)

// Action is one more request that the server takes: JSON in, JSON out.
type Action struct {
	Method string // GET, or POST for what changes something
	Path   string
	// Do returns the answer, an object that encoding/json takes. body is the request's, empty for GET, and not to be kept. A
	// *Refusal says which status an error has; any other is 500.
	Do func(ctx context.Context, body []byte) (any, error)
}

// Refusal is an error with the status that it is answered with.
type Refusal struct {
	Status int
	Text   string
}

func (r *Refusal) Error() string { return r.Text }

// Refuse returns a Refusal.
func Refuse(status int, format string, args ...any) error {
	return &Refusal{Status: status, Text: fmt.Sprintf(format, args...)}
}

// action answers an Action's requests. What changes something is taken as application/json only: a page in somebody's browser can
// make that send a form to a loopback address, but not this type, unless the server agrees first.
func (s *Server) action(a Action) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if a.Method == http.MethodPost {
			if t, _, err := mime.ParseMediaType(string(ctx.Request.Header.ContentType())); err != nil || t != "application/json" {
				answer(ctx, http.StatusUnsupportedMediaType, failure{fmt.Sprintf("%s takes JSON: say Content-Type: application/json", a.Path)})
				return
			}
		}
		limited, cancel := context.WithTimeout(s.base, s.config.ActionTimeout)
		defer cancel()
		body, err := a.Do(limited, ctx.PostBody())
		var refused *Refusal
		switch {
		case err == nil:
			answer(ctx, http.StatusOK, body)
		case errors.As(err, &refused):
			answer(ctx, refused.Status, failure{err.Error()})
		default:
			answer(ctx, http.StatusInternalServerError, failure{err.Error()})
		}
	}
}
