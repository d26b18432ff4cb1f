package datadir

import (
	"fmt"
	"log/slog"

	"ackline/broker/syncmethod"
)

// Method settles how the WAL makes writes durable: as configured, or "auto", what probing found best when the directory was made. It
// probes in a directory that has no answer, and Save keeps that.
func (d *Dir) Method(configured string, log *slog.Logger) (syncmethod.Method, error) {
	if configured != "auto" {
		return syncmethod.Parse(configured)
	}
	if m, err := syncmethod.Parse(d.SyncMethod); err == nil {
		return m, nil
	}
	best, table, err := syncmethod.Probe(d.FS, d.Path, 0)
	if err != nil {
		return "", fmt.Errorf("trying the sync methods in %s: %w", d.Path, err)
	}
	for _, r := range table {
		log.Debug("sync method tried", "method", r.Method, "p50_us", r.P50.Microseconds(), "p99_us", r.P99.Microseconds(), "err", r.Err)
	}
	d.SyncMethod = string(best)
	return best, nil
}
