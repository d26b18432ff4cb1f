// Package bycode counts errors by Kafka's code, on paths on which a map would be too dear.
package bycode

import (
	"strconv"
	"sync/atomic"
)

// Counter counts errors by code. The zero value is ready; any goroutine may use it.
type Counter struct {
	counts [128]atomic.Uint64 // by code + 1; what is above shares the last
}

// Add counts one error.
func (b *Counter) Add(code int16) {
	b.counts[min(max(int(code)+1, 0), len(b.counts)-1)].Add(1)
}

// Each calls emit for every code that was counted, with the code as its label.
func (b *Counter) Each(emit func(count uint64, labels ...string)) {
	for i := range b.counts {
		if n := b.counts[i].Load(); n > 0 {
			emit(n, strconv.Itoa(i-1))
		}
	}
}
