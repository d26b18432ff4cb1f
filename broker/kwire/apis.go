package kwire

import "github.com/twmb/franz-go/pkg/kmsg"

// Keys of the requests that the table serves.
const (
	KeyProduce                 int16 = 0
	KeyFetch                   int16 = 1
	KeyListOffsets             int16 = 2
	KeyMetadata                int16 = 3
	KeyFindCoordinator         int16 = 10
	KeyApiVersions             int16 = 18
	KeyCreateTopics            int16 = 19
	KeyDeleteTopics            int16 = 20
	KeyInitProducerID          int16 = 22
	KeyOffsetForLeaderEpoch    int16 = 23
	KeyDescribeConfigs         int16 = 32
	KeyAlterConfigs            int16 = 33
	KeyIncrementalAlterConfigs int16 = 44
	KeyDescribeCluster         int16 = 60
)

// API is one kind of request that this broker answers.
type API struct {
	Key      int16
	Name     string // Kafka's
	Min, Max int16  // advertised in ApiVersions; anything else is refused by ParseHeader
	// Served is the first version that is really carried out. Between Min and Served the answer is
	// UNSUPPORTED_VERSION. Only Produce has such versions: librdkafka up to 2.0 enables gzip, snappy and lz4 only
	// when Produce v0 is advertised.
	Served   int16
	Flexible int16 // the first version with compact encodings and tags; above Max if none has
	layout   []field
}

// table is the one place that says what is served. The layouts are the request bodies (layout.go has the notation).
var table = [...]API{
	{Key: KeyProduce, Name: "Produce", Min: 0, Max: 11, Served: 3, Flexible: 9, layout: []field{
		str.from(3), int16F, int32F, // transactional id, acks, timeout ms
		structs(str, structs(int32F, blob)), // topics: name, partitions: index, records
	}},
	{Key: KeyFetch, Name: "Fetch", Min: 4, Max: 17, Served: 4, Flexible: 12, layout: []field{
		int32F.until(14), int32F, int32F, int32F, // replica id, max wait ms, min bytes, max bytes
		int8F, int32F.from(7), int32F.from(7), // isolation level, session id, session epoch
		structs(str.until(12), uuid.from(13), structs( // topics: name, id, partitions:
			int32F, int32F.from(9), int64F, int32F.from(12), // index, leader epoch, offset, last fetched epoch
			int64F.from(5), int32F, // log start offset, max bytes
			tag(0, uuid), tag(1, int64F))), // replica directory, high watermark
		structs(str.until(12), uuid.from(13), list(int32F)).from(7), // forgotten topics: name, id, partitions
		str.from(11),                                         // rack
		tag(0, str), tag(1, int32F, int64F, emptyTagSection), // cluster id, replica state: id, epoch
	}},
	{Key: KeyListOffsets, Name: "ListOffsets", Min: 1, Max: 7, Served: 1, Flexible: 6, layout: []field{
		int32F, int8F.from(2), // replica id, isolation level
		structs(str, structs(int32F, int32F.from(4), int64F)), // topics: name, partitions: index, epoch, timestamp
	}},
	{Key: KeyMetadata, Name: "Metadata", Min: 0, Max: 12, Served: 0, Flexible: 9, layout: []field{
		structs(uuid.from(10), str),                        // topics: id, name
		int8F.from(4), int8F.between(8, 10), int8F.from(8), // auto creation, cluster operations, topic operations
	}},
	{Key: KeyFindCoordinator, Name: "FindCoordinator", Min: 0, Max: 4, Served: 0, Flexible: 3, layout: []field{
		str.until(3), int8F.from(1), list(str).from(4), // key, type, keys
	}},
	{Key: KeyApiVersions, Name: "ApiVersions", Min: 0, Max: 4, Served: 0, Flexible: 3, layout: []field{
		str.from(3), str.from(3), // client software name, version
	}},
	{Key: KeyCreateTopics, Name: "CreateTopics", Min: 0, Max: 7, Served: 0, Flexible: 5, layout: []field{
		structs( // topics:
			str, int32F, int16F, // name, partitions, replication factor
			structs(int32F, list(int32F)), // assignments: partition, nodes
			structs(str, str)),            // configs: name, value
		int32F, int8F.from(1), // timeout ms, validate only
	}},
	{Key: KeyDeleteTopics, Name: "DeleteTopics", Min: 0, Max: 6, Served: 0, Flexible: 4, layout: []field{
		list(str).until(5), structs(str, uuid).from(6), // names; topics: name, id
		int32F, // timeout ms
	}},
	{Key: KeyInitProducerID, Name: "InitProducerId", Min: 0, Max: 4, Served: 0, Flexible: 2, layout: []field{
		str, int32F, int64F.from(3), int16F.from(3), // transactional id, transaction timeout ms, producer id, epoch
	}},
	{Key: KeyOffsetForLeaderEpoch, Name: "OffsetForLeaderEpoch", Min: 2, Max: 4, Served: 2, Flexible: 4, layout: []field{
		int32F.from(3), // replica id
		structs(str, structs(int32F, int32F, int32F)), // topics: name, partitions: index, current epoch, epoch
	}},
	{Key: KeyDescribeConfigs, Name: "DescribeConfigs", Min: 0, Max: 4, Served: 0, Flexible: 4, layout: []field{
		structs(int8F, str, list(str)), // resources: type, name, config names
		int8F.from(1), int8F.from(3),   // synonyms, documentation
	}},
	{Key: KeyAlterConfigs, Name: "AlterConfigs", Min: 0, Max: 2, Served: 0, Flexible: 2, layout: []field{
		structs(int8F, str, structs(str, str)), // resources: type, name, configs: name, value
		int8F,                                  // validate only
	}},
	{Key: KeyIncrementalAlterConfigs, Name: "IncrementalAlterConfigs", Min: 0, Max: 1, Served: 0, Flexible: 1, layout: []field{
		structs(int8F, str, structs(str, int8F, str)), // resources: type, name, configs: name, operation, value
		int8F, // validate only
	}},
	{Key: KeyDescribeCluster, Name: "DescribeCluster", Min: 0, Max: 1, Served: 0, Flexible: 0, layout: []field{
		int8F, int8F.from(1), // cluster operations, endpoint type
	}},
}

// byKey finds a table entry without a search: keys are small.
var byKey = func() (x [64]*API) {
	for i := range table {
		x[table[i].Key] = &table[i]
	}
	return x
}()

func lookup(key int16) *API {
	if key < 0 || int(key) >= len(byKey) {
		return nil
	}
	return byKey[key]
}

// Lookup returns the table's entry for a key.
func Lookup(key int16) (API, bool) {
	if a := lookup(key); a != nil {
		return *a, true
	}
	return API{}, false
}

// APIs returns the table in the order of the keys.
func APIs() []API { return append([]API(nil), table[:]...) }

// ApiVersions returns the answer to an ApiVersions request, with the given error code, from the table. With
// UNSUPPORTED_VERSION (35) it must be sent in version 0 (see AppendResponse) and holds the range of ApiVersions
// alone, which is what a client needs to ask again.
func ApiVersions(code int16) *kmsg.ApiVersionsResponse {
	r := kmsg.NewPtrApiVersionsResponse()
	r.ErrorCode = code
	for i := range table {
		a := &table[i]
		if code != 0 && a.Key != KeyApiVersions {
			continue
		}
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = a.Key, a.Min, a.Max
		r.ApiKeys = append(r.ApiKeys, k)
	}
	return r
}
