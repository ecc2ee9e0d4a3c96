"""Reading that queues and consoles share: pipelined reads, walks over keys, running jobs, workers."""
