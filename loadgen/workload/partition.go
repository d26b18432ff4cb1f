package workload

// What chooses a record's partition.
const (
	// ByRoundRobin: a connection's partitions in turn, whatever the key.
	ByRoundRobin = "round-robin"
	// ByKey: the key, as Kafka's clients have it do by default; see Partition.
	ByKey = "key"
)

// Partition is the partition of n that a key chooses: its murmur2 hash, of which the sign is cleared, modulo n. Producers that differ in this would put
// one key's records into two partitions, so that all of Kafka's clients do alike.
func Partition(key []byte, n int32) int32 { return int32(murmur2(key)&0x7fffffff) % n }

// murmur2 is Austin Appleby's MurmurHash2 of 32 bits, little-endian, with the seed that Kafka's clients give it.
func murmur2(key []byte) uint32 {
	const (
		seed  = 0x9747b28c
		m     = 0x5bd1e995
		shift = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		k *= m
		k ^= k >> shift
		h = h*m ^ k*m
	}
	if len(key) > 0 {
		for i := len(key) - 1; i >= 0; i-- {
			h ^= uint32(key[i]) << (8 * i)
		}
		h *= m
	}
	h ^= h >> 13
	h *= m
	return h ^ h>>15
}
