#!/usr/bin/env pwsh
# `careplane mesh` with the manifests of this folder: puts the mesh and careplane into a cluster, verifies it, or takes
# it out again. --help lists the options. deploy-service-mesh.sh does the same.
$careplane = if ($env:CAREPLANE) { $env:CAREPLANE } else { 'careplane' }
$workspace = Join-Path (Split-Path $PSScriptRoot) 'Cargo.toml'
# The environment is that of the session, and outlives this script.
$before = $env:CAREPLANE_MANIFESTS
$env:CAREPLANE_MANIFESTS = $PSScriptRoot
try {
    if (Get-Command $careplane -CommandType Application -ErrorAction SilentlyContinue) {
        & $careplane 'mesh' @args
    } elseif ((Get-Command 'cargo' -ErrorAction SilentlyContinue) -and (Test-Path $workspace)) {
        & 'cargo' 'run' '--quiet' '--locked' '--manifest-path' $workspace '-p' 'careplane-cli' '--' 'mesh' @args
    } else {
        $missing = 'careplane is missing: put it into the PATH or its place into CAREPLANE, or use a checkout with cargo'
        [Console]::Error.WriteLine($missing)
        exit 3
    }
    exit $LASTEXITCODE
} finally {
    $env:CAREPLANE_MANIFESTS = $before
}
