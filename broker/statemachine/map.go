package statemachine

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"

	"ackline/broker/id"
)

// Map is the reference implementation: strings to strings, in memory. Its Result is a Previous.
//
// A command (integers little endian):
//
//	offset  size  field
//	     0     1  format version, 1
//	     1     1  operation: 1 put, 2 delete
//	     2     4  length of the key, k
//	     6     k  key
//	   6+k        value: what remains; empty for a delete
//
// A snapshot's payload is the last applied index (8 bytes), then per key in ascending order its length (4), its bytes,
// the value's length (4), its bytes.
type Map struct {
	mu      sync.Mutex // owns applied and entries: Snapshot and LastApplied come from other goroutines
	applied id.Index
	entries map[string]string
}

// Previous is what a key held before a command.
type Previous struct {
	Value string
	Found bool
}

const (
	mapVersion   = 1
	mapPut       = 1
	mapDelete    = 2
	mapKeyOffset = 6

	mapSnapshotVersion = 1
	mapSnapshotLimit   = 1 << 30
)

var mapMagic = Magic{'a', 'c', 'k', 'l', 'm', 'a', 'p', '\n'}

// NewMap returns an empty machine.
func NewMap() *Map { return &Map{entries: map[string]string{}} }

// Put encodes a command that sets a key.
func Put(key, value string) []byte { return append(mapCommand(mapPut, key), value...) }

// Delete encodes a command that removes a key.
func Delete(key string) []byte { return mapCommand(mapDelete, key) }

func mapCommand(operation byte, key string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{mapVersion, operation}, uint32(len(key)))
	return append(b, key...)
}

// Get returns what a key holds.
func (m *Map) Get(key string) (value string, found bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, found = m.entries[key]
	return value, found
}

// LastApplied implements StateMachine.
func (m *Map) LastApplied() id.Index {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied
}

// Apply implements StateMachine.
func (m *Map) Apply(e Entry) (Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if skip, err := Next(m.applied, e.Index); skip || err != nil {
		return nil, err
	}
	if len(e.Data) == 0 {
		m.applied = e.Index
		return nil, nil
	}
	operation, key, value, err := parseMapCommand(e.Data)
	if err != nil {
		return nil, fmt.Errorf("apply entry %d to map: %w", e.Index, err)
	}
	old, found := m.entries[key]
	if operation == mapPut {
		m.entries[key] = value
	} else {
		delete(m.entries, key)
	}
	m.applied = e.Index
	return Previous{Value: old, Found: found}, nil
}

func parseMapCommand(b []byte) (operation byte, key, value string, err error) {
	if len(b) < mapKeyOffset {
		return 0, "", "", fmt.Errorf("command has %d bytes, at least %d are needed", len(b), mapKeyOffset)
	}
	if b[0] != mapVersion {
		return 0, "", "", fmt.Errorf("command version %d, want %d", b[0], mapVersion)
	}
	operation = b[1]
	if operation != mapPut && operation != mapDelete {
		return 0, "", "", fmt.Errorf("operation %d, want %d (put) or %d (delete)", operation, mapPut, mapDelete)
	}
	n := uint64(binary.LittleEndian.Uint32(b[2:]))
	rest := b[mapKeyOffset:]
	if n > uint64(len(rest)) {
		return 0, "", "", fmt.Errorf("key of %d bytes, %d remain", n, len(rest))
	}
	if operation == mapDelete && n != uint64(len(rest)) {
		return 0, "", "", fmt.Errorf("delete with %d bytes behind the key", uint64(len(rest))-n)
	}
	return operation, string(rest[:n]), string(rest[n:]), nil
}

// Snapshot implements StateMachine. The state is encoded under the lock and written outside it.
func (m *Map) Snapshot(w io.Writer) error {
	return WriteFrame(w, mapMagic, mapSnapshotVersion, m.encode())
}

func (m *Map) encode() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := binary.LittleEndian.AppendUint64(nil, uint64(m.applied))
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		for _, s := range []string{key, m.entries[key]} {
			b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

// Restore implements StateMachine.
func (m *Map) Restore(r io.Reader) error {
	b, _, err := ReadFrame(r, mapMagic, mapSnapshotVersion, mapSnapshotLimit)
	if err != nil {
		return err
	}
	applied, entries, err := decodeMap(b)
	if err != nil {
		return fmt.Errorf("restore map: %w: %w", err, ErrCorrupt)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.applied, m.entries = applied, entries
	return nil
}

func decodeMap(b []byte) (id.Index, map[string]string, error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("payload has %d bytes, at least 8 are needed", len(b))
	}
	applied := id.Index(binary.LittleEndian.Uint64(b))
	entries := map[string]string{}
	for b = b[8:]; len(b) > 0; {
		var pair [2]string
		for i := range pair {
			if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
				return 0, nil, fmt.Errorf("a string runs past the end, %d bytes remain", len(b))
			}
			n := 4 + int(binary.LittleEndian.Uint32(b))
			pair[i], b = string(b[4:n]), b[n:]
		}
		entries[pair[0]] = pair[1]
	}
	return applied, entries, nil
}
