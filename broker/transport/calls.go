package transport

import (
	"context"

	"ackline/broker/id"
	"ackline/broker/transport/call"
)

// Answer says who answers the peers' calls of a kind. It is for before Start.
func (t *Transport) Answer(k call.Kind, h call.Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.started || t.kinds[k] != nil {
		panic("transport: calls of a kind are given to a second handler, or after Start")
	}
	if t.kinds == nil {
		t.kinds = map[call.Kind]call.Handler{}
	}
	t.kinds[k] = h
}

// Call asks a node and waits for its answer until ctx ends. While a connection is being made it waits for that; when none
// can be made, or it ends, it fails at once. The error is a *call.Error, which says whether the request may have been
// carried out, or a *call.RemoteError in the words of the node's handler. Calls overtake each other. payload must not be
// changed until Call returns.
func (t *Transport) Call(ctx context.Context, to id.NodeID, k call.Kind, payload []byte) ([]byte, error) {
	p := t.peer(to)
	if p == nil {
		return nil, &call.Error{Peer: to, Kind: k, Err: call.ErrClosed}
	}
	return p.calls.Call(ctx, k, payload)
}

// newCalls makes both sides of the calls with a peer.
func (t *Transport) newCalls(n id.NodeID) (*call.Client, *call.Server) {
	cfg := call.Config{Peer: n, MaxPayload: t.cfg.MaxCallBytes, MaxCalls: t.cfg.CallsOut, QueueBytes: t.cfg.CallQueueBytes,
		ReadBytes: t.cfg.ReadBytes, WriteTimeout: t.cfg.WriteTimeout}
	client := call.NewClient(cfg)
	cfg.MaxCalls = t.cfg.CallsIn
	return client, call.NewServer(cfg, func(k call.Kind) call.Handler { return t.kinds[k] }, t.run)
}
