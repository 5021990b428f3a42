# What smoke_endpoints.ps1 holds against the gateway's answers; it dot-sources this file, the twin of smoke_checks.py.
# A check throws, in words for people, when an answer is not as promised. Answers are JSON as ConvertFrom-Text gives it.

$Channels = @('trades', 'orderbook', 'ohlcv')
$BaseTypes = @('subscribed', 'alreadySubscribed', 'unsubscribed', 'pong', 'warning', 'error') + $Channels
$TradeFields = 'info id timestamp datetime symbol order type side takerOrMaker price amount cost fee fees'
$BookFields = 'symbol bids asks timestamp datetime nonce'
$MarketFields = 'exchange symbol unifiedSymbol base quote settle type active marketId exchangeMarketId ' +
    'minOrderSize tickSize contractSize info'
$Quotes = @{ USDT = 1; USDC = 2; USD = 3 } # of the BTC perpetual to take where several are listed, by preference
$FramesWanted = 3 # of data on each channel, before it is unsubscribed
$Invariant = [cultureinfo]::InvariantCulture

function Assert-That([bool] $Condition, [string] $Problem) {
    if (-not $Condition) { throw $Problem }
}

# -- JSON --------------------------------------------------------------------------------------------------------------

# ConvertFrom-Json makes dates of ISO times and refuses names that differ only in case, which venues' raw rows have.
# Objects become case-sensitive hashtables, arrays object[]; ``info`` stays text, it is long and nothing looks into it.
function ConvertFrom-Element([System.Text.Json.JsonElement] $Element) {
    switch ($Element.ValueKind) {
        'Object' {
            $map = [System.Collections.Hashtable]::new([System.StringComparer]::Ordinal)
            foreach ($property in $Element.EnumerateObject()) {
                if ($property.Name -ceq 'info') {
                    $map['info'] = $property.Value.GetRawText()
                } else {
                    $map[$property.Name] = ConvertFrom-Element $property.Value
                }
            }
            return $map
        }
        'Array' {
            $items = [System.Collections.Generic.List[object]]::new()
            foreach ($child in $Element.EnumerateArray()) {
                $items.Add((ConvertFrom-Element $child))
            }
            return , $items.ToArray()
        }
        'String' { return $Element.GetString() }
        'Number' {
            if ($Element.GetRawText() -cmatch '^-?\d{1,18}$') { return $Element.GetInt64() }
            return $Element.GetDouble()
        }
        'True' { return $true }
        'False' { return $false }
        default { return $null }
    }
}

function ConvertFrom-Text([string] $Text) {
    $document = [System.Text.Json.JsonDocument]::Parse($Text)
    try {
        $content = ConvertFrom-Element $document.RootElement
    } finally {
        $document.Dispose()
    }
    return , $content
}

# -- shapes ------------------------------------------------------------------------------------------------------------

function Assert-Fields([hashtable] $Row, [string] $Names) {
    $wanted = $Names.Split(' ')
    $missing = @($wanted | Where-Object { -not $Row.ContainsKey($_) })
    $unknown = @($Row.Keys | Where-Object { $wanted -cnotcontains $_ })
    $odd = @($missing + $unknown | Sort-Object)
    Assert-That ($odd.Count -eq 0) "missing or unknown: $($odd -join ', ')"
}

function Assert-Time([hashtable] $Row) {
    $stamp = $Row['timestamp']
    Assert-That ($stamp -is [long]) "timestamp is $stamp"
    $moment = [System.DateTimeOffset]::FromUnixTimeMilliseconds($stamp)
    $iso = $moment.ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", $Invariant)
    Assert-That ($Row['datetime'] -ceq $iso) "datetime $($Row['datetime']) is not timestamp $stamp"
}

function Assert-Trade([hashtable] $Row, [string] $Echoed) {
    Assert-Fields $Row $TradeFields
    Assert-That ($Row['id'] -is [string] -and $Row['id'].Length -gt 0) "id is $($Row['id'])"
    Assert-That ($Row['symbol'] -ceq $Echoed) "symbol is $($Row['symbol'])"
    Assert-That (@('buy', 'sell') -ccontains $Row['side']) "side is $($Row['side'])"
    foreach ($name in 'price', 'amount', 'cost') {
        Assert-That ($Row[$name] -gt 0) 'price, amount or cost is not above 0'
    }
    Assert-That (@('null', '{}', '[]', '""') -cnotcontains $Row['info']) 'info is empty'
    foreach ($name in 'order', 'type', 'takerOrMaker', 'fee') {
        Assert-That ($null -eq $Row[$name]) "$name is $($Row[$name]) on a public trade"
    }
    Assert-That ($Row['fees'] -is [array] -and $Row['fees'].Count -eq 0) 'fees are not empty on a public trade'
    Assert-Time $Row
}

function Assert-Candles([object[]] $Rows) {
    $before = [long]::MinValue
    foreach ($row in $Rows) {
        Assert-That ($row.Count -eq 6) "a row has $($row.Count) numbers"
        $opened, $first, $high, $low, $last, $volume = $row
        Assert-That ($opened -is [long] -and $opened % 60000 -eq 0) "open time is $opened"
        $inside = 0 -lt $low -and $low -le $first -and $low -le $last -and $first -le $high -and $last -le $high
        Assert-That $inside "prices are $first, $high, $low, $last"
        Assert-That ($null -eq $volume -or $volume -ge 0) "volume is $volume"
        Assert-That ($opened -gt $before) 'open times do not rise'
        $before = $opened
    }
}

function Assert-Book([hashtable] $Book, [string] $Echoed, [int] $Levels) {
    Assert-Fields $Book $BookFields
    Assert-That ($Book['symbol'] -ceq $Echoed) "symbol is $($Book['symbol'])"
    foreach ($side in 'bids', 'asks') {
        $rows = $Book[$side]
        Assert-That ($rows.Count -ge 1 -and $rows.Count -le $Levels) "$($rows.Count) $side, $Levels asked for"
        $sign = 1
        if ($side -ceq 'bids') { $sign = -1 }
        $before = [double]::NegativeInfinity
        foreach ($row in $rows) {
            $price, $amount = $row
            Assert-That ($sign * $price -gt $before) "$side are not best first"
            Assert-That ($price -gt 0 -and $amount -gt 0) "$side hold an empty level"
            $before = $sign * $price
        }
    }
    Assert-That ($Book['bids'][0][0] -lt $Book['asks'][0][0]) 'the best bid is not below the best ask'
    if ($null -ne $Book['timestamp'] -or $null -ne $Book['datetime']) { Assert-Time $Book }
}

# -- which market ------------------------------------------------------------------------------------------------------

# The market called $Wanted, else a BTC perpetual, else the first: @{ Echoed; Asked }.
function Select-Market([object[]] $Listed, [string] $Wanted) {
    if ($Wanted) {
        $named = @($Listed | Where-Object { $_['symbol'] -ceq $Wanted -or $_['marketId'] -ceq $Wanted })
        if ($named.Count -eq 0) { $named = @($Listed | Where-Object { $Wanted -ceq $_['exchangeMarketId'] }) }
        $some = @($Listed | Select-Object -First 3 | ForEach-Object { $_['symbol'] }) -join ', '
        Assert-That ($named.Count -gt 0) "$Wanted is not listed; $some are"
        $market = $named[0]
    } else {
        $bitcoin = @($Listed | Where-Object { $_['type'] -ceq 'perp' -and $_['base'] -ceq 'BTC' })
        $perps = @($bitcoin | Where-Object { $Quotes.ContainsKey($_['quote']) })
        $best = @($perps | Sort-Object -Stable { $_['quote'] -cne $_['settle'] }, { $Quotes[$_['quote']] })
        $market = @($best + $Listed)[0]
    }
    # BASE/QUOTE would mean the perpetual where there is one.
    $asked = $market['symbol']
    if ($market['type'] -ceq 'spot') { $asked = $market['marketId'] }
    return @{ Echoed = $market['symbol']; Asked = $asked }
}

# -- the websocket -----------------------------------------------------------------------------------------------------

# The frames of one type, one after the other.
function Get-Typed([hashtable] $Transcript, [string] $Type) {
    foreach ($entry in $Transcript['Frames']) {
        if ($entry['Frame']['type'] -ceq $Type) { $entry['Frame'] }
    }
}

# What concerns a channel, as @{ At; Frame }, one after the other.
function Get-About([hashtable] $Transcript, [string] $About) {
    foreach ($entry in $Transcript['Frames']) {
        $frame = $entry['Frame']
        if (@($frame['channel'], $frame['id'], $frame['type']) -ccontains $About) { $entry }
    }
}

# Whether enough data frames of every channel came, or an error that says why they will not.
function Test-Settled([hashtable] $Transcript) {
    foreach ($channel in $Channels) {
        $refused = @(Get-About $Transcript $channel | Where-Object { $_['Frame']['type'] -ceq 'error' }).Count -gt 0
        if (-not $refused -and @(Get-Typed $Transcript $channel).Count -lt $FramesWanted) { return $false }
    }
    return $true
}

function Get-Told([hashtable] $Frame) {
    if ($Frame['type'] -ceq 'error') { return "$($Frame['code']): $($Frame['message'])" }
    return $Frame['type']
}

# The data frames of a channel, at least $Least; what stood in their way is told.
function Get-Some([hashtable] $Transcript, [string] $About, [int] $Least = 1) {
    $frames = @(Get-Typed $Transcript $About)
    $errors = @(Get-About $Transcript $About | Where-Object { $_['Frame']['type'] -ceq 'error' })
    $problem = "$($frames.Count) data frames in $($WaitSeconds.ToString($Invariant)) s"
    if ($errors.Count -gt 0) {
        $problem += "; $(Get-Told $errors[0]['Frame'])"
    } elseif ($Transcript['Broken']) {
        $problem += "; $($Transcript['Broken'])"
    }
    Assert-That ($frames.Count -ge $Least) $problem
    return , $frames
}

function Get-Problem([hashtable] $Transcript) {
    if ($Transcript['Broken']) { return $Transcript['Broken'] }
    return 'no answer'
}

function Test-Channel([string] $Venue, [string] $Echoed, [hashtable] $Heard, [string] $Stream) {
    $about = @(Get-About $Heard $Stream)
    Test-Check $Venue "ws ${Stream}: ack before data" {
        Assert-That ($about.Count -gt 0) (Get-Problem $Heard)
        $first = $about[0]['Frame']
        Assert-That ($first['type'] -ceq 'subscribed') "the first frame is $(Get-Told $first)"
        Assert-That ($first['id'] -ceq $Stream) 'the acknowledgement does not echo the id'
        "$($about[0]['At'].ToString('F2', $Invariant)) s"
    }
    Test-Check $Venue "ws ${Stream}: first data" {
        $null = Get-Some $Heard $Stream
        $entry = @($about | Where-Object { $_['Frame']['type'] -ceq $Stream })[0]
        "$($entry['At'].ToString('F2', $Invariant)) s"
    }
    Test-Check $Venue "ws ${Stream}: shape" {
        $frames = Get-Some $Heard $Stream
        foreach ($frame in $frames) {
            if ($Stream -ceq 'orderbook') {
                Assert-Book $frame['data'] $Echoed $frame['topic']['params']['levels']
                continue
            }
            Assert-That ($frame['data'].Count -gt 0) 'an empty frame'
            if ($Stream -ceq 'ohlcv') {
                Assert-Candles $frame['data']
            } else {
                foreach ($row in $frame['data']) { Assert-Trade $row $Echoed }
            }
        }
        "$($frames.Count) frames"
    }
    Test-Check $Venue "ws ${Stream}: topic echo" {
        $frames = Get-Some $Heard $Stream
        $topic = $about[0]['Frame']['topic']
        $names = @($topic.Keys | Sort-Object) -join ', '
        Assert-That ($names -ceq 'exchange, params, symbol') "it has $names"
        Assert-That ($topic['exchange'] -ceq $Venue) "exchange is $($topic['exchange'])"
        Assert-That ($topic['symbol'] -ceq $Echoed) "symbol is $($topic['symbol'])"
        $told = Format-Topic $topic
        foreach ($frame in $frames) {
            $same = (Format-Topic $frame['topic']) -ceq $told
            Assert-That $same 'data and acknowledgement name different topics'
        }
        @($topic['params'].Keys | Sort-Object | ForEach-Object { "$_ $($topic['params'][$_])" }) -join ', '
    }
    Test-Check $Venue "ws ${Stream}: cursor rises" {
        $frames = Get-Some $Heard $Stream 2
        $cursors = @($frames | ForEach-Object { $_['cursor'] })
        $told = "cursors are $($cursors -join ', ')"
        $epoch = $null
        foreach ($cursor in $cursors) {
            Assert-That ($cursor -cmatch '^\d+-\d+$') $told
            $parts = $cursor.Split('-')
            $sequence = [long] $parts[1]
            if ($null -ne $epoch) {
                Assert-That ($parts[0] -ceq $epoch) "the epoch changed: $($cursors -join ', ')"
                $step = $sequence - $before
                Assert-That ($step -eq 1 -or ($step -gt 1 -and $Stream -ceq 'orderbook')) $told
            }
            $epoch = $parts[0]
            $before = $sequence
        }
        "$($cursors.Count) frames up to $($cursors[-1])"
    }
    Test-Check $Venue "ws ${Stream}: unsubscribe" {
        $types = @($about | ForEach-Object { $_['Frame']['type'] })
        Assert-That ($types -ccontains 'unsubscribed') (Get-Problem $Heard)
        $ended = $false
        foreach ($type in $types) {
            if ($type -ceq 'unsubscribed') { $ended = $true }
            Assert-That (-not ($ended -and $type -ceq $Stream)) 'data came after it'
        }
    }
}

# A topic as text, the same for equal ones.
function Format-Topic([hashtable] $Topic) {
    $inner = @($Topic['params'].Keys | Sort-Object | ForEach-Object { "$_=$($Topic['params'][$_])" }) -join ','
    return "$(@($Topic.Keys | Sort-Object) -join ',') $($Topic['exchange']) $($Topic['symbol']) $inner"
}
