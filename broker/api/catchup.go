package api

import (
	"context"
	"time"
)

// A node's catalog may be a moment older than what another has told its client. So before a node says of a topic that it does
// not exist, what its configuration is, or plans a change, it makes sure that it knows what anybody was told. What Metadata says
// of topics that it does know, and who leads, is served as it is: a client that acts on it finds out.

// catchUpTimeout is how long an answer is held up by a cluster in which nobody can tell what is committed. Clients ask again, and
// most wait longer than this.
const catchUpTimeout = 2 * time.Second

// catchUp makes the catalog as new as what was acknowledged anywhere before. With an error it may be older.
func (h *Handler) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	return h.cfg.Cluster.CatchUp(ctx)
}

// absent is the code for what the catalog does not know, after catchUp.
func (h *Handler) absent(code int16, behind error) int16 {
	if behind != nil {
		return codeLeaderNotAvailable // clients try again
	}
	return h.unknown(code)
}
