// Package cowmap is a map that is copied on write, for a value that many goroutines read without a lock while one
// builds its successor.
//
// A plain map would be copied whole for each key that changes, which makes the replay of ten thousand changes
// quadratic. Here the keys are spread over shards and only the shards that change are copied.
package cowmap

import (
	"hash/maphash"
	"iter"
	"maps"
)

const shards = 256

// Map maps keys to values. It never changes, except through the Edit that is building it.
type Map[K comparable, V any] struct {
	shards [shards]map[K]V
	shard  func(K) uint8
	len    int
}

// New returns an empty map. shard spreads the keys over shards; equal keys must have equal shards.
func New[K comparable, V any](shard func(K) uint8) Map[K, V] { return Map[K, V]{shard: shard} }

// Get returns a key's value.
func (m *Map[K, V]) Get(k K) (V, bool) {
	v, ok := m.shards[m.shard(k)][k]
	return v, ok
}

// Len is how many keys the map has.
func (m *Map[K, V]) Len() int { return m.len }

// All ranges over the map in no particular order.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for _, shard := range m.shards {
			for k, v := range shard {
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

// Edit builds a map from another, which stays as it is. It belongs to one goroutine.
type Edit[K comparable, V any] struct {
	m     Map[K, V]
	owned [shards]bool // shards that were copied by this edit
}

// Edit begins a change.
func (m *Map[K, V]) Edit() *Edit[K, V] { return &Edit[K, V]{m: *m} }

// Map ends the change and returns what was built. The edit must not be used any more.
func (e *Edit[K, V]) Map() Map[K, V] { return e.m }

// Get returns a key's value, as changed so far.
func (e *Edit[K, V]) Get(k K) (V, bool) { return e.m.Get(k) }

// Set gives a key a value.
func (e *Edit[K, V]) Set(k K, v V) {
	shard := e.own(k)
	before := len(shard)
	shard[k] = v
	e.m.len += len(shard) - before
}

// Remove takes a key out, if it is there.
func (e *Edit[K, V]) Remove(k K) {
	shard := e.own(k)
	before := len(shard)
	delete(shard, k)
	e.m.len += len(shard) - before
}

// own returns the shard of a key, which this edit may write to.
func (e *Edit[K, V]) own(k K) map[K]V {
	i := e.m.shard(k)
	if !e.owned[i] {
		e.owned[i] = true
		e.m.shards[i] = maps.Clone(e.m.shards[i])
		if e.m.shards[i] == nil {
			e.m.shards[i] = map[K]V{}
		}
	}
	return e.m.shards[i]
}

// The seed differs in every process, so that nobody can choose names that meet in one shard. Nothing may depend on
// which shard holds a key.
var seed = maphash.MakeSeed()

// StringShard spreads strings.
func StringShard(k string) uint8 { return uint8(maphash.String(seed, k)) }

// BytesShard is StringShard of the same bytes.
func BytesShard(k []byte) uint8 { return uint8(maphash.Bytes(seed, k)) }

// GetBytes looks a name up as it came off the wire, without allocating, in a map that is spread by StringShard.
func GetBytes[V any](m *Map[string, V], k []byte) (V, bool) {
	v, ok := m.shards[BytesShard(k)][string(k)]
	return v, ok
}
