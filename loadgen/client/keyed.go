package client

import (
	"errors"
	"fmt"

	"ackline/loadgen/client/spread"
	"ackline/loadgen/pace"
	"ackline/loadgen/place"
)

// keyed decides where a worker's records go when their keys choose the partitions. The worker is one producer: its next record is drawn when it
// is first asked whether there is room, and that record waits for room on its partition's connection, and holds up those behind it. To let others
// pass would send more of what is not hot than the keys say. Used by the worker's thread.
type keyed struct {
	drawer *spread.Drawer
	topics place.Topics
	homes  map[int32][]home // by place: who serves it
	turn   int

	drawn  bool // the next record is known: draw and at
	draw   uint64
	at     int32
	on     home // where it goes; on.c is nil when that is not decided
	strays []Op
}

// home is a connection's stream into a partition.
type home struct {
	c      *conn
	codec  *shapedCodec
	stream int // index into the codec's
}

// maxStrays bounds the records that have nowhere to go and were not handed back yet.
const maxStrays = 64

// errStray says why a record has no connection: with one connection for each partition, as Config.Resend wants it, that cannot be.
var errStray = errors.New("its leader has moved, and none of the producer's connections goes to the new one: with resend each partition has a connection of its own")

func newKeyed(d *spread.Drawer, topics place.Topics, conns []*conn) *keyed {
	k := &keyed{drawer: d, topics: topics, homes: map[int32][]home{}, strays: make([]Op, 0, maxStrays)}
	for _, c := range conns {
		codec := c.codec.(*shapedCodec)
		for i, s := range codec.streams {
			k.homes[s.partition] = append(k.homes[s.partition], home{c, codec, i})
		}
	}
	return k
}

// choose returns the connection that the next record goes over, which may have no room; nil: it has nowhere to go.
func (k *keyed) choose() *conn {
	if !k.drawn {
		k.draw, k.at = k.drawer.Draw()
		k.drawn = true
	}
	if k.on.c != nil && k.on.c.prepared {
		return k.on.c // its frame is made
	}
	k.on = home{}
	homes := k.homes[k.at]
	for i := range homes {
		h := homes[(k.turn+i)%len(homes)]
		if h.codec.streams[h.stream].led && (k.on.c == nil || k.on.c.free == 0) {
			k.on = h
		}
	}
	if k.on.c == nil {
		return nil
	}
	k.on.codec.aim(k.on.stream, k.draw)
	return k.on.c
}

// room is how many records may be submitted: the next one, if there is room for it.
func (k *keyed) room() int {
	if c := k.choose(); c != nil {
		return min(c.free, 1)
	}
	return min(maxStrays-len(k.strays), 1)
}

// taken ends the choice of a record that is submitted over c. stray: it has nowhere to go, and is handed back with the answers.
func (k *keyed) taken(c *conn, intended, ready int64) (stray bool) {
	k.drawn, k.on = false, home{}
	k.turn++
	if c != nil {
		return false
	}
	h := k.homes[k.at][0]
	k.strays = append(k.strays, Op{Intended: intended, Ready: ready, Sent: pace.Now(), Stream: h.codec.streams[h.stream].id, Records: 1,
		Err: fmt.Errorf("%s: %w", k.topics.Name(k.at), errStray)})
	return true
}

// giveBack hands the strays to done, and says whether there were any.
func (k *keyed) giveBack(done func(*Op)) bool {
	any := len(k.strays) > 0
	for i := range k.strays {
		done(&k.strays[i])
	}
	k.strays = k.strays[:0]
	return any
}
