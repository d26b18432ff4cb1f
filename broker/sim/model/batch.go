// Package model is what clients of a simulated cluster do and know: producers that send, retry and keep count, and the
// truth about each partition, which grows from what replicas apply and what clients are told, and which every later word of
// any replica must agree with.
package model

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"ackline/broker/kwire"
)

// Batch is one record batch that a producer made. A plain producer makes a new one for every try, an idempotent one sends
// the same again.
type Batch struct {
	Name     string // unique
	Producer int
	Seq      int // counts the producer's batches, from 0
	Info     kwire.BatchInfo

	raw []byte
	// Tries were sent; Failed of them failed definitely.
	Tries, Failed int
	acked         bool
	at            int64 // base offset, once acked or applied
	applied       bool
}

// Bytes returns a copy to send: the leader writes into it.
func (b *Batch) Bytes() []byte { return append([]byte(nil), b.raw...) }

const headerBytes = kwire.BatchHeaderBytes

// body is the part of a batch that its leader leaves alone.
func body(raw []byte) string { return string(raw[17:]) }

// newBatch makes a batch of n records that carry the name. pid is -1 for a plain producer; seq is of the first record.
func newBatch(name string, n int, pid int64, epoch int16, seq int32) (*Batch, error) {
	raw := make([]byte, headerBytes)
	for i := range n {
		value := fmt.Sprintf("%s, record %d", name, i)
		r := binary.AppendVarint([]byte{0}, 0)
		r = binary.AppendVarint(r, int64(i))
		r = binary.AppendVarint(r, -1)
		r = append(binary.AppendVarint(r, int64(len(value))), value...)
		r = binary.AppendVarint(r, 0)
		raw = append(binary.AppendVarint(raw, int64(len(r))), r...)
	}
	be := binary.BigEndian
	be.PutUint32(raw[8:], uint32(len(raw)-12))
	raw[16] = 2
	be.PutUint32(raw[23:], uint32(n-1))
	be.PutUint64(raw[43:], uint64(pid))
	be.PutUint16(raw[51:], uint16(epoch))
	be.PutUint32(raw[53:], uint32(seq))
	be.PutUint32(raw[57:], uint32(n))
	be.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	info, err := kwire.ParseBatch(raw)
	if err != nil {
		return nil, fmt.Errorf("model: a batch that no broker would take: %w", err)
	}
	return &Batch{Name: name, Info: info, raw: raw}, nil
}
