package stages

import "math/bits"

// Response times fall into buckets of which each power of two has bucketsPerOctave, so that a bucket is at most 1/64 of its
// response times wide.
const (
	bucketBits       = 6
	bucketsPerOctave = 1 << bucketBits
)

// bucketOf is the bucket of a duration of 0 ns or more.
func bucketOf(ns int64) int {
	if ns < bucketsPerOctave {
		return int(ns)
	}
	shift := bits.Len64(uint64(ns)) - bucketBits - 1
	return shift*bucketsPerOctave + int(ns>>shift)
}

// bucketLow is the least duration of a bucket.
func bucketLow(i int) int64 {
	if i < bucketsPerOctave {
		return int64(i)
	}
	shift := i/bucketsPerOctave - 1
	return int64(i-shift*bucketsPerOctave) << shift
}
