package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// logFile takes the lines of a container in the format that a kubelet reads: time, stream, F for a full line, the line.
type logFile struct {
	mutex sync.Mutex
	file  *os.File
	users int
}

func openLog(path string) (*logFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	return &logFile{file: file}, err
}

// stream returns the end of a pipe for the process to write to. The file is closed when all streams have ended.
func (l *logFile) stream(name string) (*os.File, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	l.mutex.Lock()
	l.users++
	l.mutex.Unlock()
	go func() {
		defer reader.Close()
		lines := bufio.NewReaderSize(reader, 16*1024)
		for {
			line, err := lines.ReadSlice('\n')
			if len(line) > 0 {
				l.write(name, line)
			}
			if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		l.mutex.Lock()
		defer l.mutex.Unlock()
		if l.users--; l.users == 0 {
			l.file.Close()
		}
	}()
	return writer, nil
}

func (l *logFile) write(stream string, line []byte) {
	tag, end := "F", ""
	if line[len(line)-1] != '\n' {
		tag, end = "P", "\n"
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	_, _ = io.WriteString(l.file, fmt.Sprintf("%s %s %s %s%s", time.Now().UTC().Format(time.RFC3339Nano), stream, tag, line, end))
}
