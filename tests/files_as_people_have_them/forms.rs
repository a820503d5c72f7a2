//! Forms that are read without a hint.

use crate::support::{Answer, HOURS, Hour, backtest, file, hours};

/// Asserts that every hour of a file was taken, at the right time.
fn assert_read(name: &str, content: impl AsRef<[u8]>, arguments: &[&str], says: &str) -> Answer {
    let answer = backtest(content, arguments);
    assert_eq!(answer.code, 0, "{name}: {}", answer.said);
    assert_eq!((answer.taken(), answer.lost()), (HOURS as u64, 0), "{name}: {}", answer.said);
    assert!(answer.said.contains("480 rows, step 1h, season 24 steps"), "{name}: {}", answer.said);
    assert_eq!(answer.seasonal_error(), 0.0, "{name}: {}", answer.said);
    assert!(answer.said.contains(says), "{name}: expected {says:?} in {}", answer.said);
    answer
}

#[test]
fn stamps_in_many_forms() {
    let patterns = [
        ("%Y-%m-%d %H:%M:%S", "time: t, %Y-%m-%d %H:%M:%S, UTC"),
        ("%Y-%m-%dT%H:%M", "time: t, %Y-%m-%dT%H:%M, UTC"),
        ("%d/%m/%Y %H:%M", "time: t, %d/%m/%Y %H:%M, day first, UTC"),
        ("%-m/%-d/%Y %-I:%M:%S %p", "time: t, %m/%d/%Y %I:%M:%S %p, month first, UTC"),
        ("%d.%m.%Y %H:%M", "day first"),
        ("%d.%m.%y %H.%M", "time: t, %d.%m.%y %H.%M, day first"),
        ("%m-%d-%Y %H:%M", "month first"),
        ("%d-%b-%Y %H:%M", "time: t, %d-%b-%Y %H:%M, UTC"),
        ("%B %d %Y %I:%M %p", "time: t, %B %d %Y %I:%M %p, UTC"),
        ("%a %d %b %Y %H:%M:%S", "time: t, %a %d %b %Y"),
        ("%a %b %e %H:%M:%S %Y", "time: t, "),
        ("%Y%m%d%H", "time: t, %Y%m%d%H, UTC"),
        ("%Y%m%d%H%M%S", "time: t, %Y%m%d%H%M%S, UTC"),
        ("%Y%m%dT%H%M%S", "time: t, "),
        ("%Y/%m/%d %H:%M", "time: t, %Y/%m/%d %H:%M, UTC"),
        ("%Y-%m-%d %H:%M UTC", "with offsets"),
        ("%Y-%m-%dT%H:%M:%SZ", "with offsets"),
        ("%Y-%m-%dT%H:%M:%S+02", "with offsets"),
        ("%Y-%m-%d %H:%M:%S.000-0330", "with offsets"),
        ("%Y-%m-%d %H:%M:%S CET", "with offsets"),
        ("%Y-%m-%dT%H:%M:%S+01:00[Europe/Berlin]", "with offsets"),
        ("%H:%M %d.%m.%Y", "day first"),
    ];
    for (pattern, says) in patterns {
        // Where the day begins does not matter, only that hours follow each other.
        assert_read(pattern, file("t,load", |hour| format!("{},{}", hour.at(pattern), hour.load)), &[], says);
    }
    let comma = file("t;load", |hour| format!("{},500;{}", hour.at("%Y-%m-%d %H:%M:%S"), hour.load));
    assert_read("a comma before fractions of a second", comma, &[], "%Y-%m-%d %H:%M:%S%.f");
    let midnight =
        |hour: Hour| if hour.number.is_multiple_of(24) { hour.at("%d.%m.%Y") } else { hour.at("%d.%m.%Y %H:%M") };
    let mixed = file("t,load", |hour| format!("{},{}", midnight(hour), hour.load));
    assert_read("dates without a time of day", mixed, &[], "20 dates without a time of day taken for midnight");
}

#[test]
fn times_since_1970_and_serial_dates() {
    let units = [
        (1, "", "seconds since 1970"),
        (1, ".0", "seconds since 1970"),
        (1000, "", "milliseconds since 1970"),
        (1_000_000, "", "microseconds since 1970"),
        (1_000_000_000, "", "nanoseconds since 1970"),
    ];
    for (unit, fraction, says) in units {
        let line = |hour: Hour| format!("{}{fraction},{}", unit * hour.seconds(), hour.load);
        assert_read(says, file("t,load", line), &[], says);
    }
    let serial = |hour: Hour| 45_306.0 + hour.number as f64 / 24.0;
    let content = file("t,load", |hour| format!("{:.9},{}", serial(hour), hour.load));
    assert_read("serial dates", &content, &["--time-format", "serial"], "serial dates of spreadsheets");
    let refused = backtest(&content, &[]);
    assert_eq!(refused.code, 65);
    assert!(
        refused.said.contains("serial date of a spreadsheet, 2024-01-15")
            && refused.said.contains("--time-format serial")
    );
}

#[test]
fn the_time_in_several_columns() {
    let load = |hour: Hour, parts: String| format!("{parts},{}", hour.load);
    let cases = [
        ("date,hour,load", file("date,hour,load", |hour| load(hour, hour.at("%Y-%m-%d,%-H")))),
        ("numbered hours", file("Tag,stunde,load", |hour| load(hour, hour.at("%d.%m.%Y,%H")))),
        ("hours of another name", file("date,slot,load", |hour| load(hour, hour.at("%Y-%m-%d,%-H")))),
        ("compact", file("day,hour,load", |hour| load(hour, hour.at("%Y%m%d,%-H00")))),
        ("clock", file("date,time,load", |hour| load(hour, hour.at("%d/%m/%Y,%H:%M")))),
        ("parts", file("year,month,day,hour,load", |hour| load(hour, hour.at("%Y,%-m,%-d,%-H")))),
        (
            "hours 1 to 24",
            file("date,hour,load", |hour| load(hour, format!("{},{}", hour.at("%Y-%m-%d"), hour.number % 24 + 1))),
        ),
        ("load first", file("load,hour,date", |hour| format!("{},{}", hour.load, hour.at("%-H,%Y-%m-%d")))),
    ];
    for (name, content) in cases {
        assert_read(name, content, &[], "time: ");
    }
    let named = file("load,d,h", |hour| format!("{},{}", hour.load, hour.at("%Y-%m-%d,%-H")));
    assert_read("named", named, &["--time", "d,h"], "time: d,h, ");
}

#[test]
fn columns_in_any_place() {
    let iso = "%Y-%m-%d %H:%M:%S";
    let index = file(",ds,y", |hour| format!("{},{},{}", hour.number, hour.at(iso), hour.load));
    assert_read("index", index, &[], "index column \"\" passed over");
    let two = file("Unnamed: 0,id,ds,y", |hour| format!("{0},{0},{1},{2}", hour.number, hour.at(iso), hour.load));
    assert_read("two indexes", two, &[], "index column \"id\" passed over");
    let last = file("load,when", |hour| format!("{},{}", hour.load, hour.at(iso)));
    assert_read("time last", last, &[], "time: when, ");
    let words = file("t,weekday,load", |hour| format!("{},{},{}", hour.at(iso), hour.at("%A"), hour.load));
    assert_read("words", words, &[], "ignored, without numbers: weekday");
    let epoch = file("n,ts,y", |hour| format!("{},{},{}", hour.number, hour.seconds(), hour.load));
    assert_read("index before seconds", epoch, &[], "time: ts, seconds since 1970");
    let names = file("y", |hour| format!("{},{}", hour.at(iso), hour.load));
    assert_read("no name for the index, as R writes it", names, &[], "series: y");
    let none: String = hours().map(|hour| format!("{},{}\n", hour.at(iso), hour.load)).collect();
    assert_read("no header", none, &[], "no header: the columns are 1, 2, 3");
}

#[test]
fn separators_numbers_and_encodings() {
    let german = "%d.%m.%Y %H:%M";
    let semicolon = file("Zeit;Last", |hour| format!("{};{}", hour.at(german), hour.with_comma()));
    assert_read("decimal comma", &semicolon, &[], "numbers with decimal comma");
    let tab = file("Zeit\tLast", |hour| format!("{}\t{}", hour.at(german), hour.with_comma()));
    assert_read("tab", tab, &[], "columns separated by tabs");
    let bar = file("t|x", |hour| format!("{}|{}", hour.at("%F %T"), hour.load));
    assert_read("bar", bar, &[], "columns separated by bars");
    let thousands = |hour: Hour| hour.with_comma().replace("1100,5", "1.100,5");
    let points = file("Zeit;Last", |hour| format!("{};{}", hour.at(german), thousands(hour)));
    assert_read("thousands and decimal comma", points, &[], "numbers with decimal comma");
    let quoted = |hour: Hour| format!("{},\"{}\"", hour.at("%F %T"), hour.load.to_string().replace("1100", "1,100"));
    assert_read("commas between thousands", file("t,x", quoted), &[], "decimal point, commas between thousands");
    let percent = file("t,x", |hour| format!("{},{} %", hour.at("%F %T"), hour.load));
    assert_read("percent", percent, &[], "time: t");
    let utf16 = |bytes: fn(u16) -> [u8; 2]| semicolon.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
    assert_read("UTF-16 with mark", [&[0xff, 0xfe], &utf16(u16::to_le_bytes)[..]].concat(), &[], "encoding UTF-16");
    assert_read("UTF-16 without mark", utf16(u16::to_be_bytes), &[], "encoding UTF-16, big endian");
    let mark = [b"\xef\xbb\xbf", semicolon.as_bytes()].concat();
    assert_read("UTF-8 with mark", mark, &[], "time: Zeit, ");
    let latin: Vec<u8> = semicolon.replace("Last", "Größe").chars().map(|c| c as u8).collect();
    assert_read("Latin-1", latin, &[], "series: Größe");
    assert_read("Windows lines", semicolon.replace('\n', "\r\n"), &[], "time: Zeit, ");
    assert_read("sep=", format!("sep=;\n{semicolon}"), &[], "time: Zeit, ");
}

#[test]
fn lines_that_are_no_rows() {
    let iso = file("t,load", |hour| format!("{},{}", hour.at("%F %T"), hour.load));
    assert_read("comments", format!("# by hand\n# for tests\n{iso}"), &[], "time: t");
    assert_read("commented header", format!("#{iso}"), &[], "time: t");
    assert_read(
        "preamble",
        format!("Station 7\nfrom the archive\n\n{iso}"),
        &[],
        "2 lines above the table passed over",
    );
    assert_read("empty rows", format!("{iso}\n,\n,\n"), &[], "time: t");
    let trailing = file("t,load,", |hour| format!("{},{},", hour.at("%F %T"), hour.load));
    assert_read("trailing separator", trailing, &[], "1 series, 480 rows");
    let total = backtest(format!("{iso}Total,19000\n"), &[]);
    assert_eq!((total.code, total.taken(), total.lost()), (0, 480, 1), "{}", total.said);
    assert!(total.said.contains("line 482, column \"t\": \"Total\""), "{}", total.said);
    let wider = backtest(format!("{iso}Total,,19000\n"), &[]);
    assert_eq!((wider.code, wider.taken(), wider.lost()), (0, 480, 1), "{}", wider.said);
    assert!(wider.said.contains("line 482: 3 columns; expected 2"), "{}", wider.said);
}

#[test]
fn words_for_nothing_are_gaps() {
    let words = ["unavailable", "NA", "null", "-", "unknown", "nan", "None", "#N/A", "?", ""];
    for word in words {
        // The first cell, and one in fifty.
        let load = |hour: Hour| if hour.number.is_multiple_of(50) { word.to_owned() } else { hour.load.to_string() };
        let answer = backtest(file("t,a,b", |hour| format!("{},{},1", hour.at("%F %T"), load(hour))), &[]);
        assert_eq!((answer.code, answer.taken(), answer.lost()), (0, 2 * 480 - 10, 0), "{word}: {}", answer.said);
        assert_eq!(answer.json["readings"]["missing"], 10, "{word}");
        assert!(word.is_empty() || answer.said.contains(&format!("gaps: \"{word}\" 10")), "{word}: {}", answer.said);
    }
    let offline =
        |hour: Hour| if hour.number.is_multiple_of(50) { "offline".to_owned() } else { hour.load.to_string() };
    let content = file("t,a", |hour| format!("{},{}", hour.at("%F %T"), offline(hour)));
    let answer = backtest(&content, &[]);
    assert_eq!((answer.code, answer.taken(), answer.lost()), (0, 470, 10), "{}", answer.said);
    assert!(answer.said.contains("--missing WORD"), "{}", answer.said);
    assert_eq!(backtest(&content, &["--missing", "offline"]).lost(), 0);
}

#[test]
fn any_order_of_rows() {
    let line = |hour: Hour| format!("{},{}\n", hour.at("%F %T"), hour.load);
    let newest_first: String = hours().rev().map(line).collect();
    assert_read(
        "newest first",
        format!("t,load\n{newest_first}"),
        &[],
        "newest first: the rows are read in the order of time",
    );
    let all: Vec<Hour> = hours().collect();
    let shuffled: String = (0..HOURS).map(|at| line(all[at * 7 % HOURS])).collect();
    assert_read("shuffled", format!("t,load\n{shuffled}"), &[], "older than the one before");
}

#[test]
fn long_files() {
    let both = |header: &str, line: fn(&str, Hour) -> String| {
        let lines: String =
            ["Süd/1", "Nord"].iter().flat_map(|key| hours().map(move |hour| line(key, hour) + "\n")).collect();
        format!("{header}\n{lines}")
    };
    let assert_long = |name: &str, content: &str, says: &str| {
        let answer = backtest(content, &[]);
        assert_eq!((answer.code, answer.taken(), answer.lost()), (0, 960, 0), "{name}: {}", answer.said);
        assert_eq!(
            (answer.json["series"].as_u64(), answer.seasonal_error()),
            (Some(2), 0.0),
            "{name}: {}",
            answer.said
        );
        assert!(answer.said.contains(says), "{name}: {}", answer.said);
    };
    let long = both("unique_id,ds,y", |key, hour| format!("{key},{},{}", hour.at("%F %T"), hour.load));
    assert_long("id, ds, y", &long, "--long --key unique_id --time ds --value y");
    let odd = both("wert,wann,wo", |key, hour| format!("{},{},{key}", hour.load, hour.at("%d.%m.%Y %H:%M")));
    assert_long("value, time, key", &odd, "--long --key wo --time wann --value wert");
    let numbered = both("ts,value,sensor", |key, hour| format!("{},{},{}", hour.seconds(), hour.load, key.len()));
    assert_long("numbers as names", &numbered, "--long --key sensor");
    let rows: String = hours().map(|hour| format!("a,{0},{1}\nb,{0},{1}\n", hour.at("%F %T"), hour.load)).collect();
    assert_long("row by row", &format!("name,t,x\n{rows}"), "--long --key name");
    let keys =
        both("store,item,date,hour,sales", |key, hour| format!("{},{key},{},{}", "s", hour.at("%F,%-H"), hour.load));
    assert_long("dates and hours", &keys, "--long --key item --time date,hour");
    let read_wide = backtest(&long, &["--columns", "y"]);
    assert_eq!(read_wide.code, 65);
    assert!(read_wide.said.contains("--long --key unique_id"), "{}", read_wide.said);
}
