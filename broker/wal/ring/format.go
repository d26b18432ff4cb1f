package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// All integers are little-endian. A batch begins at a multiple of BlockSize and is padded with zeros to the next; it may
// run across the ring's end. Its header:
//
//	 0  4  magic "ALWB"
//	 4  2  format version
//	 6  2  flags: 1 = this batch starts a generation
//	 8  8  ring id, drawn when the file was made; so that bytes which a client sends cannot pass for a batch
//	16  8  generation
//	24  8  LSN of this batch
//	32  8  LSN of the batch before it, 0 if it is the ring's first
//	40  8  durable LSN: everything below it was synced when this batch was written. Its own LSN; but a batch that starts
//	       a generation replaces everything from this LSN on
//	48  4  payload length, without header and padding
//	52  4  record count
//	56  4  zero
//	60  4  CRC-32C of bytes 0–59 and the payload
//	64     records
const (
	HeaderSize   = 64
	batchVersion = 1
	batchCRCOff  = 60

	FlagStart = 1 // starts a generation
)

var batchMagic = [4]byte{'A', 'L', 'W', 'B'}

// A superblock fills one block, but lies within its first 512 bytes, so that a torn write cannot mix two. Two of them
// alternate, at Pos 0 and BlockSize; the valid one with the higher sequence number counts.
//
//	 0  8  magic "ALWSUPER"
//	 8  4  format version, of the batches too: a program that does not know it must not take new batches for torn ones
//	12  4  flags: 1 = closed cleanly, and nothing was written since
//	16  8  sequence number
//	24  8  ring id
//	32  8  ring size in bytes
//	40  8  head: LSN of the first batch to read
//	48  8  generation
//	56  8  synced LSN: everything below it was synced when the superblock was written
//	64  8  bound: no batch that reaches beyond this LSN was ever written
//	72  4  CRC-32C of bytes 0–71
//
// Format 1 has no bound: its CRC is at 64.
const (
	superSize    = 76
	superVersion = 2
	superCRCOff  = 72

	FlagClean = 1
)

var superMagic = [8]byte{'A', 'L', 'W', 'S', 'U', 'P', 'E', 'R'}

// dataStart is the Pos of the ring's first byte. It leaves the superblocks a region of their own that large erase and
// RAID units do not share with the ring.
const dataStart = 64 << 10

// MaxBatchShare: no batch is larger than this part of the ring. It bounds what is read at the word of a header whose
// CRC is not checked yet.
const MaxBatchShare = 16

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header is a batch's header, but for what is the same in all.
type Header struct {
	Flags      uint16
	RingID     uint64
	Generation uint64
	LSN        id.LSN
	Prev       id.LSN
	Durable    id.LSN
	Length     uint32 // of the payload
	Records    uint32
}

// Start tells whether the batch starts a generation.
func (h *Header) Start() bool { return h.Flags&FlagStart != 0 }

// Size is the batch's size in the ring.
func (h *Header) Size() int64 { return vfs.RoundUp(HeaderSize + int64(h.Length)) }

// End is the LSN of the batch after this one.
func (h *Header) End() id.LSN { return h.LSN + id.LSN(h.Size()) }

// Seal writes h into the first bytes of batch, which ends with the payload, and the CRC of it all.
func (h *Header) Seal(batch []byte) {
	h.put(batch)
	binary.LittleEndian.PutUint32(batch[batchCRCOff:], batchCRC(batch))
}

// put writes h, but for the CRC, into the first bytes of batch.
func (h *Header) put(batch []byte) {
	le := binary.LittleEndian
	copy(batch, batchMagic[:])
	le.PutUint16(batch[4:], batchVersion)
	le.PutUint16(batch[6:], h.Flags)
	le.PutUint64(batch[8:], h.RingID)
	le.PutUint64(batch[16:], h.Generation)
	le.PutUint64(batch[24:], uint64(h.LSN))
	le.PutUint64(batch[32:], uint64(h.Prev))
	le.PutUint64(batch[40:], uint64(h.Durable))
	le.PutUint32(batch[48:], h.Length)
	le.PutUint32(batch[52:], h.Records)
	le.PutUint32(batch[56:], 0)
}

// batchCRC is the checksum of a batch that ends with its payload.
func batchCRC(batch []byte) uint32 {
	return crc32.Update(crc32.Checksum(batch[:batchCRCOff], castagnoli), castagnoli, batch[HeaderSize:])
}

// checkCRC tells whether a batch that ends with its payload is what was sealed.
func checkCRC(batch []byte) bool {
	return binary.LittleEndian.Uint32(batch[batchCRCOff:]) == batchCRC(batch)
}

var errNoBatch = errors.New("no batch begins there")

// ParseHeader decodes the header at the beginning of b, which holds at least HeaderSize bytes, and checks what can be
// checked without the payload. ringBytes bounds the length.
func ParseHeader(b []byte, ringBytes int64) (Header, error) {
	le := binary.LittleEndian
	if [4]byte(b) != batchMagic {
		return Header{}, errNoBatch
	}
	if v := le.Uint16(b[4:]); v != batchVersion {
		return Header{}, fmt.Errorf("batch format %d, this program reads %d", v, batchVersion)
	}
	h := Header{
		Flags:      le.Uint16(b[6:]),
		RingID:     le.Uint64(b[8:]),
		Generation: le.Uint64(b[16:]),
		LSN:        id.LSN(le.Uint64(b[24:])),
		Prev:       id.LSN(le.Uint64(b[32:])),
		Durable:    id.LSN(le.Uint64(b[40:])),
		Length:     le.Uint32(b[48:]),
		Records:    le.Uint32(b[52:]),
	}
	switch {
	case h.LSN%vfs.BlockSize != 0 || h.LSN == 0:
		return h, fmt.Errorf("LSN %d is not a positive multiple of %d", h.LSN, vfs.BlockSize)
	case h.Prev >= h.LSN:
		return h, fmt.Errorf("previous LSN %d is not below LSN %d", h.Prev, h.LSN)
	case h.Durable > h.LSN || !h.Start() && h.Durable != h.LSN:
		return h, fmt.Errorf("durable LSN %d does not suit LSN %d, flags %#x", h.Durable, h.LSN, h.Flags)
	case h.Size() > ringBytes/MaxBatchShare:
		return h, fmt.Errorf("payload of %d bytes in a ring of %d", h.Length, ringBytes)
	}
	return h, nil
}

// Super is a superblock.
type Super struct {
	Flags      uint32
	Seq        uint64
	RingID     uint64
	RingBytes  int64
	Head       id.LSN
	Generation uint64
	Synced     id.LSN
	Bound      id.LSN // 0: not known
}

// Clean tells whether the ring was closed cleanly and nothing was written since.
func (s *Super) Clean() bool { return s.Flags&FlagClean != 0 }

// Pos is the place of the superblock in the file.
func (s *Super) Pos() int64 { return int64(s.Seq%2) * vfs.BlockSize }

// encode writes s into block, of BlockSize bytes.
func (s *Super) encode(block []byte) {
	clear(block)
	le := binary.LittleEndian
	copy(block, superMagic[:])
	le.PutUint32(block[8:], superVersion)
	le.PutUint32(block[12:], s.Flags)
	le.PutUint64(block[16:], s.Seq)
	le.PutUint64(block[24:], s.RingID)
	le.PutUint64(block[32:], uint64(s.RingBytes))
	le.PutUint64(block[40:], uint64(s.Head))
	le.PutUint64(block[48:], s.Generation)
	le.PutUint64(block[56:], uint64(s.Synced))
	le.PutUint64(block[64:], uint64(s.Bound))
	le.PutUint32(block[superCRCOff:], crc32.Checksum(block[:superCRCOff], castagnoli))
}

// ParseSuper decodes the superblock at the beginning of b, which holds a block.
func ParseSuper(b []byte) (Super, error) {
	le := binary.LittleEndian
	if [8]byte(b) != superMagic {
		return Super{}, errors.New("no superblock")
	}
	version, crcOff := le.Uint32(b[8:]), superCRCOff
	if version == 1 {
		crcOff = 64
	}
	if got, want := crc32.Checksum(b[:crcOff], castagnoli), le.Uint32(b[crcOff:]); got != want {
		return Super{}, fmt.Errorf("the superblock's CRC is %08x, %08x was written", got, want)
	}
	if version != 1 && version != superVersion {
		return Super{}, fmt.Errorf("superblock format %d, this program reads 1 and %d", version, superVersion)
	}
	s := Super{
		Flags:      le.Uint32(b[12:]),
		Seq:        le.Uint64(b[16:]),
		RingID:     le.Uint64(b[24:]),
		RingBytes:  int64(le.Uint64(b[32:])),
		Head:       id.LSN(le.Uint64(b[40:])),
		Generation: le.Uint64(b[48:]),
		Synced:     id.LSN(le.Uint64(b[56:])),
	}
	if version != 1 {
		s.Bound = id.LSN(le.Uint64(b[64:]))
	}
	switch {
	case s.RingBytes <= 0 || s.RingBytes%vfs.BlockSize != 0:
		return s, fmt.Errorf("a ring of %d bytes is not a positive multiple of %d", s.RingBytes, vfs.BlockSize)
	case s.Head%vfs.BlockSize != 0 || s.Synced%vfs.BlockSize != 0 || s.Head < id.LSN(s.RingBytes):
		return s, fmt.Errorf("head %d and synced LSN %d do not suit a ring of %d bytes", s.Head, s.Synced, s.RingBytes)
	case s.Synced < s.Head || s.Synced-s.Head > id.LSN(s.RingBytes):
		return s, fmt.Errorf("synced LSN %d is not within %d bytes from head %d", s.Synced, s.RingBytes, s.Head)
	case version != 1 && (s.Bound < s.Synced || s.Bound%vfs.BlockSize != 0):
		return s, fmt.Errorf("bound %d does not suit synced LSN %d", s.Bound, s.Synced)
	}
	return s, nil
}
