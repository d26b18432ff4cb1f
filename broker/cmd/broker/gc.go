package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"

	"ackline/broker/node/config"
)

// setGC sets the collector: the configuration, else the environment, else our own default, which is bounded.
func setGC(percent int) {
	switch {
	case percent > 0:
		debug.SetGCPercent(percent)
	case os.Getenv("GOGC") == "":
		boundGarbage(config.DefaultGCPercent, config.MaxGarbageBytes)
	}
}

// boundGarbage lets the heap grow by percent of what lives, but by no more than most bytes. What suits the small heap of a
// broker at work is three hundred megabytes where recovery has found a million entries, each of which is remembered until a
// checkpoint. The collections are more then, and cheap: what is remembered of entries has no pointers.
func boundGarbage(percent int, most uint64) {
	debug.SetGCPercent(percent)
	afterGC(&cycle{}, func(now, live uint64) uint64 {
		p := uint64(percent)
		if live > 0 {
			p = min(p, max(1, most*100/live))
		}
		if p != now {
			debug.SetGCPercent(int(p))
		}
		return p
	}, uint64(percent))
}

// cycle dies with each collection. It holds a pointer, or it would share its block with others that live on.
type cycle struct{ _ *cycle }

// afterGC calls set after each collection with what it returned the last time, and with the bytes that live.
func afterGC(c *cycle, set func(now, live uint64) uint64, now uint64) {
	runtime.SetFinalizer(c, func(c *cycle) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		afterGC(c, set, set(now, live[0].Value.Uint64()))
	})
}
