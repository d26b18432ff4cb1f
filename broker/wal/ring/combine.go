package ring

import "ackline/broker/crc"

// A batch's CRC covers its entries, each of which has a CRC of its own already. Reading a mebibyte again for it takes 100 µs of
// the 1.4 ms between two batches, in which nothing is written. So the CRC of a long entry goes into that of the batch by
// arithmetic.
//
// The entry's CRC was taken from what the caller gave, not from the copy that is written: a bit that flips in between is found
// when the batch is read, as one that flips on the disk is.

// known is a part of a batch whose CRC is known.
type known struct {
	at, n int // bytes
	crc   uint32
}

// extend returns the CRC of what has CRC sum followed by batch[from:], parts of which are known.
func extend(c *crc.Combiner, sum uint32, batch []byte, from int, parts []known) uint32 {
	for _, k := range parts {
		sum = c.Combine(crc.Update(sum, batch[from:k.at]), k.crc, k.n)
		from = k.at + k.n
	}
	return crc.Update(sum, batch[from:])
}
