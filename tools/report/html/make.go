package html

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"ackline/tools/report/render"
	"ackline/tools/report/trend"
)

// Make renders a page with the trend of results, the name of the RESULTS.md whose history is read; "" for that in this folder.
// A history that cannot be read is no error: the page says so.
func Make(ctx context.Context, d *render.Document, source, results string) ([]byte, error) {
	if results == "" {
		results = "RESULTS.md"
	}
	p := Page{Document: d, Source: source}
	h, err := trend.Read(ctx, filepath.Dir(results), filepath.Base(results), nil)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, trend.ErrNoHistory):
		p.NoTrend = fmt.Sprintf("There is no trend: %v.", err)
	case err != nil:
		return nil, err
	default:
		p.Trend = h.With(d.Results)
	}
	return Render(p)
}
