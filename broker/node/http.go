package node

import (
	"context"
	"time"

	"ackline/broker/httpapi"
)

// openHTTP serves metrics and health on their own address, if there is one.
func (n *Node) openHTTP() error {
	if n.cfg.Node.HTTPAddr == "" {
		return nil
	}
	ln, err := listen("--http-addr", n.cfg.Node.HTTPAddr)
	if err != nil {
		return err
	}
	s, err := httpapi.New(httpapi.Config{Pprof: n.cfg.Node.Pprof}, httpapi.Sources{
		Metrics: n.counters().Set().Registry(), Ready: n.Ready, Checkpoint: n.Checkpoint, Actions: n.admin.Actions(),
	}, n.log)
	if err != nil {
		ln.Close()
		return err
	}
	n.http, n.httpLn = s, ln
	n.loops.Add(1)
	go func() {
		defer n.loops.Done()
		if err := s.Serve(ln); err != nil {
			n.log.Error("the HTTP server ended", "err", err)
		}
	}()
	return nil
}

func (n *Node) closeHTTP() {
	if n.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := n.http.Shutdown(ctx); err != nil {
		n.log.Debug("the HTTP server did not end in time", "err", err)
	}
}

// HTTPAddr is the address of the HTTP server, empty without one.
func (n *Node) HTTPAddr() string {
	if n.httpLn == nil {
		return ""
	}
	return n.httpLn.Addr().String()
}
