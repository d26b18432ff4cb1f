// Package origin counts where producers are, by partition, for whoever decides where leaders are best placed. The problem is that a
// Produce request does not say: Kafka's clients name their rack when they fetch, and when they produce only their client id. How far a
// client is shows in its connection, and not in which direction.
//
// So a producer that wants its place to count says it in its client id, behind the last "@": client.id = "billing@frankfurt", with the
// name of a region or a zone of the cluster's nodes. What another node passes on (cluster.forward_produce) comes from where that node
// is. Everything else is from nowhere, "".
package origin

import (
	"bytes"
	"sync"
	"sync/atomic"

	"ackline/broker/id"
)

// MaxPlaces bounds the places that are told apart in one partition between two calls of Take; the rest is from nowhere. A client
// may say anything.
const MaxPlaces = 64

// Of returns the place that a client id names, nil if it names none. It aliases the id.
func Of(clientID []byte) []byte {
	if i := bytes.LastIndexByte(clientID, '@'); i >= 0 {
		return clientID[i+1:]
	}
	return nil
}

// Tally counts produced bytes. A nil Tally counts nothing.
type Tally struct {
	mu sync.RWMutex // guards m
	m  map[key]*atomic.Uint64
	n  map[id.GroupID]int // places in m
}

type key struct {
	group id.GroupID
	place string
}

// New returns a tally of nothing.
func New() *Tally {
	return &Tally{m: map[key]*atomic.Uint64{}, n: map[id.GroupID]int{}}
}

// Add counts bytes of a partition that come from a place. It costs a map's look-up, and no memory once the place was seen.
func (t *Tally) Add(g id.GroupID, place []byte, produced int) {
	if t == nil {
		return
	}
	t.mu.RLock()
	c := t.m[key{g, string(place)}]
	t.mu.RUnlock()
	if c == nil {
		c = t.counter(g, string(place))
	}
	c.Add(uint64(produced))
}

func (t *Tally) counter(g id.GroupID, place string) *atomic.Uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n[g] >= MaxPlaces {
		place = ""
	}
	c := t.m[key{g, place}]
	if c == nil {
		c = new(atomic.Uint64)
		t.m[key{g, place}] = c
		t.n[g]++
	}
	return c
}

// Take returns what was counted since it was called last, by partition and place.
func (t *Tally) Take() map[id.GroupID]map[string]uint64 {
	t.mu.Lock()
	m := t.m
	t.m, t.n = make(map[key]*atomic.Uint64, len(m)), map[id.GroupID]int{}
	t.mu.Unlock()
	out := map[id.GroupID]map[string]uint64{}
	for k, c := range m {
		if out[k.group] == nil {
			out[k.group] = map[string]uint64{}
		}
		out[k.group][k.place] = c.Load() // what is being added this moment is lost, a request at most
	}
	return out
}
