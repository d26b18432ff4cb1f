package workload

// Config is a workload as a person writes it: what the records look like, how they are sent and by how many. The same struct is the flags of the command
// line, the keys of a workload's file and the documentation of both. Default values stand in the tags; the zero value of a field means its default.
type Config struct {
	Topics      int    `toml:"topics" json:"topics,omitempty" default:"1" placeholder:"N" help:"Topics that are made, of --partitions partitions each; records go to all of them alike (${default}). Those that are there are named: --topic a,b,c --existing."`
	PartitionBy string `toml:"partition_by" json:"partition_by,omitempty" default:"round-robin" enum:"round-robin,key" placeholder:"HOW" help:"What chooses a record's partition: round-robin, a connection's partitions in turn; or key, its key as Kafka's clients have it (murmur2), so that hot keys make hot partitions. key needs --key, a connection to each leader, and with the wire driver one record a request (${default})."`

	Workload string `toml:"workload" json:"workload,omitempty" default:"produce" enum:"produce,fetch" help:"produce writes; fetch reads a topic that is there, which --topic and --existing name (${default})."`

	Size    Sizes   `toml:"size" json:"size,omitzero" default:"1024" placeholder:"BYTES" help:"Bytes of each record's value: 1024, or evenly 100..2000, or log-normal p50=300,p99=4000, or with weights 200:0.9,10000:0.1 (${default})."`
	Key     Keys    `toml:"key" json:"key,omitzero" default:"none" placeholder:"KEYS" help:"Keys of the records: none, sequential, sequential:N, uniform:N or zipf:N,EXPONENT (${default})."`
	Headers Headers `toml:"headers" json:"headers,omitzero" default:"none" placeholder:"COUNTxBYTES" help:"Headers of each record, such as 2x64 (${default})."`
	Ratio   float64 `toml:"ratio" json:"ratio,omitempty" default:"0" help:"How many times smaller compression makes the records, 1 to 20; 0: filler that costs the generator least and is not meant to be compressed (${default})."`

	Compression       string `toml:"compression" json:"compression,omitempty" default:"" enum:",none,gzip,snappy,lz4,zstd" placeholder:"CODEC" help:"Compress the batches: none, gzip, snappy, lz4 or zstd, ahead of time (none; kgo-default: what the library takes)."`
	Acks              string `toml:"acks" json:"acks,omitempty" default:"all" enum:"all,1,0" help:"Who must have a record before its answer: all replicas in sync, 1 (the leader), or 0: nobody, and without an answer there are no latencies and no check (${default})."`
	Idempotence       string `toml:"idempotence" json:"idempotence,omitempty" default:"" enum:",on,off" placeholder:"on|off" help:"Give batches a producer's id and sequence numbers (off; with --resend and for kgo on)."`
	RecordsPerRequest int    `toml:"records_per_request" json:"records_per_request,omitempty" default:"1" help:"Records in one request, as one batch (${default})."`

	Connections int `toml:"connections" json:"connections,omitempty" default:"1" help:"TCP connections: the producers (${default})."`
	InFlight    int `toml:"in_flight" json:"in_flight,omitempty" default:"1" help:"Operations without an answer per connection (${default}). An arrival that finds no room waits; that is its backlog."`
	Consumers   int `toml:"consumers" json:"consumers,omitempty" default:"0" placeholder:"N" help:"Consumers that read the whole topic at its end, as it is written, and are not timed (${default}); --end-to-end adds one that is. To drain: threads that share the partitions; 0: one for each."`
}

// Shape is what the records look like.
func (c *Config) Shape() Shape {
	return Shape{Size: c.Size, Key: c.Key, Headers: c.Headers, Ratio: c.Ratio}
}
